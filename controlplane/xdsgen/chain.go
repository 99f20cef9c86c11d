package xdsgen

import (
	"fmt"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	snidfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// listedChains makes a listener's filter chains from Listener.Chains, and its default one from Table or Cluster. It returns
// the route tables named.
func listedChains(out *listenerv3.Listener, in listenerInput) ([]string, error) {
	l := in.Listener
	var tables []string
	for _, ch := range l.Chains {
		chain, err := listedChain(in, ch)
		if err != nil {
			return nil, err
		}
		tables = append(tables, ch.Table)
		if l.Detect && chain.FilterChainMatch == nil {
			out.DefaultFilterChain = chain // Envoy, once it has found a chain for plaintext, does not look at those for any transport
			continue
		}
		out.FilterChains = append(out.FilterChains, chain)
	}
	out.ListenerFilters = append(out.ListenerFilters, inspectors(l)...)
	if l.Kind != mesh.ListenGateway && len(out.ListenerFilters) > 0 {
		setDetectTimeout(out, in.DetectTimeout)
	}
	var err error
	switch {
	case l.Detect:
		err = detectChains(out, in)
		tables = append(tables, l.Table)
	case l.Table != "":
		out.DefaultFilterChain, err = httpChain(in, httpRole{Table: l.Table, Stat: httpStat(l), Name: "default"})
		tables = append(tables, l.Table)
	case l.Cluster != "":
		out.DefaultFilterChain, err = tcpChain(in, "default", l.Cluster)
	}
	return tables, err
}

func httpStat(l *mesh.Listener) string {
	return fmt.Sprintf("outbound_%s_%d;", bindName(l.Address), l.Port)
}

func listedChain(in listenerInput, ch *mesh.Chain) (*listenerv3.FilterChain, error) {
	var chain *listenerv3.FilterChain
	var err error
	if ch.Table != "" {
		chain, err = httpChain(in, httpRole{Table: ch.Table, Stat: httpStat(in.Listener), Name: ch.Name})
	} else {
		chain, err = weightedChain(in, ch)
	}
	if err != nil {
		return nil, fmt.Errorf("chain %s: %w", ch.Name, err)
	}
	if chain.FilterChainMatch, err = chainMatch(ch); err != nil {
		return nil, fmt.Errorf("chain %s: %w", ch.Name, err)
	}
	if ch.TLS != nil {
		chain.TransportSocket, err = serverTransport(ch.TLS)
	}
	return chain, err
}

// chainMatch is what a connection must be; nil if anything will do.
func chainMatch(ch *mesh.Chain) (*listenerv3.FilterChainMatch, error) {
	m := &listenerv3.FilterChainMatch{ServerNames: ch.SNI, ApplicationProtocols: ch.ALPN}
	if ch.TransportTLS || len(ch.SNI) > 0 {
		m.TransportProtocol = "tls"
	}
	if ch.DestinationPort != 0 {
		m.DestinationPort = wrapperspb.UInt32(ch.DestinationPort)
	}
	var err error
	if m.PrefixRanges, err = ranges(ch.Destinations); err != nil {
		return nil, err
	}
	if m.SourcePrefixRanges, err = ranges(ch.Sources); err != nil {
		return nil, err
	}
	if m.TransportProtocol == "" && len(ch.ALPN) == 0 && m.DestinationPort == nil && len(ch.Destinations)+len(ch.Sources) == 0 {
		return nil, nil
	}
	return m, nil
}

func ranges(cidrs []string) ([]*corev3.CidrRange, error) {
	var out []*corev3.CidrRange
	for _, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, fmt.Errorf("read range: %w", err)
		}
		out = append(out, &corev3.CidrRange{AddressPrefix: p.Masked().Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))})
	}
	return out, nil
}

// inspectors are the listener filters that find out what the chains ask about.
func inspectors(l *mesh.Listener) []*listenerv3.ListenerFilter {
	tls, http := false, l.Detect
	for _, ch := range l.Chains {
		secure := ch.TransportTLS || len(ch.SNI) > 0
		tls = tls || secure
		http = http || len(ch.ALPN) > 0 && !secure
	}
	var out []*listenerv3.ListenerFilter
	if tls {
		out = append(out, tlsInspector())
	}
	if http {
		out = append(out, httpInspector())
	}
	return out
}

// weightedChain sends connections to one of several clusters.
func weightedChain(in listenerInput, ch *mesh.Chain) (*listenerv3.FilterChain, error) {
	proxy := &tcpproxyv3.TcpProxy{StatPrefix: ch.Name, IdleTimeout: optional(ch.IdleTimeout), TunnelingConfig: tunnelTo(ch.Tunnel)}
	if len(ch.Clusters) == 1 {
		proxy.StatPrefix = in.stat(ch.Clusters[0].Cluster)
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: ch.Clusters[0].Cluster}
	} else {
		all := &tcpproxyv3.TcpProxy_WeightedCluster{}
		for _, c := range ch.Clusters {
			all.Clusters = append(all.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: c.Cluster, Weight: c.Weight})
		}
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: all}
	}
	var err error
	if proxy.AccessLog, err = accessLogs(in, false); err != nil {
		return nil, err
	}
	chain, err := tcpFilters(in, ch.Name, proxy)
	if err != nil || ch.NamePort == 0 || ch.TLS != nil || !ch.TransportTLS {
		return chain, err
	}
	find, err := toAny(&snidfpv3.FilterConfig{DnsCacheConfig: dnsCache(in.Families), PortSpecifier: &snidfpv3.FilterConfig_PortValue{PortValue: ch.NamePort}})
	if err != nil {
		return nil, err
	}
	chain.Filters = slices.Insert(chain.Filters, len(chain.Filters)-1, &listenerv3.Filter{
		Name: "envoy.filters.network.sni_dynamic_forward_proxy", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: find},
	})
	return chain, nil
}
