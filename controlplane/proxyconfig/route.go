package proxyconfig

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// routeTable is a RouteConfiguration.
type routeTable struct {
	Name         string        `json:"name"`
	VirtualHosts []virtualHost `json:"virtual_hosts"`
}

type virtualHost struct {
	Name    string   `json:"name"`
	Domains []string `json:"domains"`
	Routes  []route  `json:"routes"`
}

type route struct {
	Match struct {
		Prefix              string `json:"prefix"`
		Path                string `json:"path"`
		PathSeparatedPrefix string `json:"path_separated_prefix"`
		SafeRegex           struct {
			Regex string `json:"regex"`
		} `json:"safe_regex"`
		ConnectMatcher *struct{} `json:"connect_matcher"`
	} `json:"match"`
	Route struct {
		Cluster string `json:"cluster"`
	} `json:"route"`
	Metadata metadata `json:"metadata"`
}

// passthrough is the cluster of what no service claims; its routes are in every table and tell nothing.
const passthrough = "PassthroughCluster"

// matchText writes a match as istioctl does: the path alone.
func (r route) matchText() string {
	m := r.Match
	switch {
	case m.Prefix != "":
		return m.Prefix + "*"
	case m.PathSeparatedPrefix != "":
		return "PathPrefix:" + m.PathSeparatedPrefix
	case m.Path != "":
		return m.Path
	case m.SafeRegex.Regex != "":
		return "regex " + m.SafeRegex.Regex
	case m.ConnectMatcher != nil:
		return "CONNECT"
	}
	return ""
}

// domains shortens the list to its first two names, which say the most, and counts the rest; ports are repetition.
func domains(all []string) string {
	var names []string
	for _, d := range all {
		if host, port, ok := cutPort(d); ok && port != "" {
			d = host
		}
		if !slices.Contains(names, d) {
			names = append(names, d)
		}
	}
	const shown = 2
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(names[:shown], ", "), len(names)-shown)
}

// cutPort splits "host:9080"; "[::1]" and bare IPv6 addresses have none.
func cutPort(d string) (host, port string, ok bool) {
	i := strings.LastIndexByte(d, ':')
	if i < 0 || strings.HasSuffix(d, "]") || strings.Count(d, ":") > 1 && !strings.HasPrefix(d, "[") {
		return d, "", false
	}
	return d[:i], d[i+1:], true
}

// routes reads the tables, each with the virtual hosts that came with it and those that came one by one (VHDS). Envoy lists
// both in the table; the latter under their resource name, "<table>/<virtual host>". The one that only stands for none is left out.
func (d *Dump) routes(name string) ([]routeTable, []json.RawMessage, error) {
	type both struct {
		t   routeTable
		raw json.RawMessage
	}
	var all []both
	for _, raw := range d.Routes {
		var t routeTable
		if err := decode(raw, &t); err != nil {
			return nil, nil, fmt.Errorf("read route table: %w", err)
		}
		t.VirtualHosts = slices.DeleteFunc(t.VirtualHosts, func(v virtualHost) bool { return v.Name == t.Name+"/"+mesh.EmptyHost })
		if name == "" || t.Name == name {
			all = append(all, both{t, raw})
		}
	}
	slices.SortStableFunc(all, func(a, b both) int { return cmp.Compare(a.t.Name, b.t.Name) })
	var tables []routeTable
	raws := []json.RawMessage{}
	for _, b := range all {
		tables, raws = append(tables, b.t), append(raws, b.raw)
	}
	return tables, raws, nil
}

// RouteTable is `proxy-config routes`; name picks one table, "" all. Routes that differ only in what is not shown (headers,
// Mizzen's choices) are one row.
func (d *Dump) RouteTable(name string) (Table, error) {
	t := Table{Header: []string{"NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"}}
	tables, _, err := d.routes(name)
	for _, rt := range tables {
		for _, v := range rt.VirtualHosts {
			for _, row := range v.rows(rt.Name) {
				if !slices.ContainsFunc(t.Rows, func(r []string) bool { return slices.Equal(r, row) }) {
					t.Rows = append(t.Rows, row)
				}
			}
		}
	}
	return t, err
}

func (v virtualHost) rows(table string) [][]string {
	host := strings.TrimPrefix(v.Name, table+"/")
	if len(v.Routes) == 0 {
		return [][]string{{table, host, domains(v.Domains), "/*", "404"}}
	}
	var out [][]string
	for _, r := range v.Routes {
		if r.Route.Cluster == passthrough {
			continue
		}
		out = append(out, []string{table, host, domains(v.Domains), r.matchText(), r.Metadata.object()})
	}
	return out
}

// ShortRouteTable is `proxy-config routes -o short`: tables and how many virtual hosts each has.
func (d *Dump) ShortRouteTable(name string) (Table, error) {
	t := Table{Header: []string{"NAME", "VIRTUAL HOSTS"}}
	tables, _, err := d.routes(name)
	for _, rt := range tables {
		t.Rows = append(t.Rows, []string{rt.Name, fmt.Sprint(len(rt.VirtualHosts))})
	}
	return t, err
}

// RouteJSON are the picked tables as Envoy wrote them.
func (d *Dump) RouteJSON(name string) ([]json.RawMessage, error) {
	_, raws, err := d.routes(name)
	return raws, err
}
