package proxyconfig

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ListenerFilter picks listeners; zero fields pick all. Type is HTTP, TCP or HTTP+TCP.
type ListenerFilter struct {
	Address, Type string
	Port          int
}

type listener struct {
	Name                string    `json:"name"`
	Address             address   `json:"address"`
	AdditionalAddresses []wrapped `json:"additional_addresses"`
	FilterChains        []chain   `json:"filter_chains"`
	DefaultFilterChain  *chain    `json:"default_filter_chain"`
	raw                 json.RawMessage
}

type wrapped struct {
	Address address `json:"address"`
}

type chain struct {
	FilterChainMatch struct {
		ServerNames          []string `json:"server_names"`
		TransportProtocol    string   `json:"transport_protocol"`
		ApplicationProtocols []string `json:"application_protocols"`
		DestinationPort      int      `json:"destination_port"`
		PrefixRanges         []struct {
			AddressPrefix string `json:"address_prefix"`
			PrefixLen     int    `json:"prefix_len"`
		} `json:"prefix_ranges"`
	} `json:"filter_chain_match"`
	Filters []struct {
		Name        string `json:"name"`
		TypedConfig struct {
			Type string `json:"@type"`
			Rds  struct {
				RouteConfigName string `json:"route_config_name"`
			} `json:"rds"`
			RouteConfig      routeTable `json:"route_config"`
			Cluster          string     `json:"cluster"`
			WeightedClusters struct {
				Clusters []struct {
					Name   string `json:"name"`
					Weight int    `json:"weight"`
				} `json:"clusters"`
			} `json:"weighted_clusters"`
		} `json:"typed_config"`
	} `json:"filters"`
}

// matchText writes what a connection must be to enter the chain.
func (c chain) matchText() string {
	m := c.FilterChainMatch
	var out []string
	if len(m.ServerNames) > 0 {
		out = append(out, "SNI: "+strings.Join(m.ServerNames, ","))
	}
	if m.TransportProtocol != "" {
		out = append(out, "Trans: "+m.TransportProtocol)
	}
	if len(m.ApplicationProtocols) > 0 {
		out = append(out, "App: "+strings.Join(m.ApplicationProtocols, ","))
	}
	port := ""
	if m.DestinationPort != 0 {
		port = ":" + strconv.Itoa(m.DestinationPort)
	}
	var prefixes []string
	for _, p := range m.PrefixRanges {
		prefixes = append(prefixes, fmt.Sprintf("%s/%d%s", p.AddressPrefix, p.PrefixLen, port))
	}
	if len(prefixes) == 0 && port != "" {
		prefixes = []string{"*" + port}
	}
	if len(prefixes) > 0 {
		out = append(out, "Addr: "+strings.Join(prefixes, ","))
	}
	return cmp.Or(strings.Join(out, "; "), "ALL")
}

// HTTP and TCP filters, by the end of their type.
const (
	httpFilter = ".HttpConnectionManager"
	tcpFilter  = ".TcpProxy"
)

// destination says where the chain sends a connection.
func (c chain) destination() string {
	for _, f := range c.Filters {
		x := f.TypedConfig
		switch {
		case strings.HasSuffix(x.Type, httpFilter) && x.Rds.RouteConfigName != "":
			return "Route: " + x.Rds.RouteConfigName
		case strings.HasSuffix(x.Type, httpFilter):
			return "Inline Route: " + inlineText(x.RouteConfig)
		case strings.HasSuffix(x.Type, tcpFilter) && x.Cluster != "":
			if strings.Contains(x.Cluster, "Cluster") {
				return x.Cluster
			}
			return "Cluster: " + x.Cluster
		case strings.HasSuffix(x.Type, tcpFilter):
			var parts []string
			for _, w := range x.WeightedClusters.Clusters {
				parts = append(parts, fmt.Sprintf("%s (%d)", w.Name, w.Weight))
			}
			return "Clusters: " + strings.Join(parts, ", ")
		}
	}
	return "Non-HTTP/Non-TCP"
}

func inlineText(t routeTable) string {
	var out []string
	for _, v := range t.VirtualHosts {
		for _, r := range v.Routes {
			if m := r.matchText(); !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return strings.Join(out, ", ")
}

// kind is HTTP, TCP, HTTP+TCP, or UNKNOWN.
func (l listener) kind() string {
	http, tcp := false, false
	for _, c := range l.chains() {
		for _, f := range c.Filters {
			http = http || strings.HasSuffix(f.TypedConfig.Type, httpFilter)
			tcp = tcp || strings.HasSuffix(f.TypedConfig.Type, tcpFilter)
		}
	}
	switch {
	case http && tcp:
		return "HTTP+TCP"
	case http:
		return "HTTP"
	case tcp:
		return "TCP"
	}
	return "UNKNOWN"
}

func (l listener) chains() []chain {
	if l.DefaultFilterChain == nil {
		return l.FilterChains
	}
	return append(slices.Clone(l.FilterChains), *l.DefaultFilterChain)
}

func (l listener) addresses() string {
	out := []string{host(l.Address)}
	for _, a := range l.AdditionalAddresses {
		out = append(out, host(a.Address))
	}
	return strings.Join(out, ",")
}

func host(a address) string {
	if a.SocketAddress.Address != "" {
		return a.SocketAddress.Address
	}
	return a.String()
}

func (d *Dump) listeners(f ListenerFilter) ([]listener, error) {
	var out []listener
	for _, raw := range d.Listeners {
		l := listener{raw: raw}
		if err := decode(raw, &l); err != nil {
			return nil, fmt.Errorf("read listener: %w", err)
		}
		a := l.Address.SocketAddress
		if (f.Address == "" || f.Address == a.Address) && (f.Port == 0 || f.Port == a.PortValue) &&
			(f.Type == "" || strings.EqualFold(f.Type, l.kind())) {
			out = append(out, l)
		}
	}
	slices.SortStableFunc(out, func(a, b listener) int {
		x, y := a.Address.SocketAddress, b.Address.SocketAddress
		return cmp.Or(cmp.Compare(x.PortValue, y.PortValue), cmp.Compare(x.Address, y.Address), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// ListenerTable is `proxy-config listeners`: a row per filter chain.
func (d *Dump) ListenerTable(f ListenerFilter) (Table, error) {
	t := Table{Header: []string{"ADDRESSES", "PORT", "MATCH", "DESTINATION"}}
	ls, err := d.listeners(f)
	for _, l := range ls {
		for _, c := range l.chains() {
			t.Rows = append(t.Rows, []string{l.addresses(), strconv.Itoa(l.Address.SocketAddress.PortValue), c.matchText(), c.destination()})
		}
	}
	return t, err
}

// ShortListenerTable is `proxy-config listeners -o short`: a row per listener.
func (d *Dump) ShortListenerTable(f ListenerFilter) (Table, error) {
	t := Table{Header: []string{"ADDRESSES", "PORT", "TYPE"}}
	ls, err := d.listeners(f)
	for _, l := range ls {
		t.Rows = append(t.Rows, []string{l.addresses(), strconv.Itoa(l.Address.SocketAddress.PortValue), l.kind()})
	}
	return t, err
}

// ListenerJSON are the picked listeners as Envoy wrote them.
func (d *Dump) ListenerJSON(f ListenerFilter) ([]json.RawMessage, error) {
	ls, err := d.listeners(f)
	return rawOf(ls, func(l listener) json.RawMessage { return l.raw }), err
}
