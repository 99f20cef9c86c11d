package xdsgen

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// bufferLimit bounds what Envoy keeps of one connection in memory, bytes. It also bounds the bodies that can be
// retried or mirrored, so it is Envoy's default rather than less.
const bufferLimit = 1 << 20

// listenerInput is all that a listener is made of.
type listenerInput struct {
	Listener       *mesh.Listener
	Gateway        bool
	Intercepts     bool
	Families       mesh.Families
	Host           mesh.FilterHost
	Wasm           string // the file, for HostWasm
	Library        string // the file, for HostGolang
	DynamicDNS     bool   // the proxy has a ClusterDynamicDNS
	DetectTimeout  time.Duration
	Identity       bool              // the proxy has one, so that it makes mesh TLS
	Auth           *mesh.Auth        // guards the chain at hand; nil: everything passes
	Extensions     []*mesh.Extension // of the chain at hand
	Modules        string            // of the node
	ModuleServer   string
	TCPIdleTimeout time.Duration       // of Listener.Cluster; 0: Envoy's hour
	Tunnel         *mesh.Tunnel        // of Listener.Cluster
	Proxy          mesh.Proxy          // what the proxy is told about itself
	Paths          mesh.PathMode       // "": PathsBase
	MeshTLS        *mesh.TLSParameters // of connections from the mesh; nil: Envoy's
	// AsksLimits: a rate-limit service counts global limits, and Envoy's own filter is to ask it. Of HostNative only.
	AsksLimits   bool
	LimitTimeout time.Duration // of a call; 0: the policy's default
}

func buildListener(in listenerInput) (*Resource, error) {
	l := in.Listener
	in.Auth, in.Extensions = l.Auth, l.Extensions
	out := &listenerv3.Listener{
		Name: l.Name, Address: socket(l.Address, l.Port),
		TrafficDirection:              corev3.TrafficDirection_OUTBOUND,
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(cmp.Or(in.Proxy.Connections.ListenerBuffer, bufferLimit)),
		// Outbound connections are the application's own: only a change of the listener ends them, not the
		// proxy's failing health.
		DrainType: listenerv3.Listener_MODIFY_ONLY,
	}
	tables, err := setChains(out, in)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	if l.Kind == mesh.ListenVirtualInbound || l.Kind == mesh.ListenInbound || l.Kind == mesh.ListenGateway {
		out.DrainType = listenerv3.Listener_DEFAULT
	}
	if l.Kind == mesh.ListenGateway && in.Proxy.ProxyProtocol {
		out.ListenerFilters = append([]*listenerv3.ListenerFilter{proxyProtocolFilter()}, out.ListenerFilters...)
	}
	for _, a := range l.Additional {
		out.AdditionalAddresses = append(out.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: socket(a, l.Port)})
	}
	r, err := resource(l.Name, out)
	if err != nil {
		return nil, err
	}
	clusters := append(append(collectors(l), authClusters(l)...), l.Cluster)
	for _, i := range l.Inbound {
		clusters = append(clusters, i.Cluster)
	}
	for _, ch := range l.Chains {
		for _, c := range ch.Clusters {
			clusters = append(clusters, c.Cluster)
		}
	}
	r.Clusters, r.Table, r.Origins = sortedSet(clusters), strings.Join(sortedSet(tables), ","), l.Origins
	return r, nil
}

// setChains sets filter chains and what differs by kind; it returns the route tables named.
func setChains(out *listenerv3.Listener, in listenerInput) ([]string, error) {
	l := in.Listener
	switch l.Kind {
	case mesh.ListenOutboundHTTP, mesh.ListenOutboundTCP, mesh.ListenGateway:
		if l.Kind != mesh.ListenGateway && in.Intercepts && !l.Own {
			out.BindToPort = wrapperspb.Bool(false)
		}
		if len(l.Chains) > 0 || l.Detect {
			return listedChains(out, in)
		}
	}
	switch l.Kind {
	case mesh.ListenHTTPProxy, mesh.ListenOutboundHTTP, mesh.ListenGateway:
		chain, err := httpChain(in, httpRole{Table: l.Table, Stat: httpStat(l)})
		out.FilterChains = []*listenerv3.FilterChain{chain}
		return []string{l.Table}, err
	case mesh.ListenOutboundTCP:
		chain, err := tcpChain(in, "", l.Cluster)
		out.FilterChains = []*listenerv3.FilterChain{chain}
		return nil, err
	case mesh.ListenVirtualOutbound:
		return nil, virtualOutbound(out, in)
	case mesh.ListenVirtualInbound:
		return virtualInbound(out, in)
	case mesh.ListenInbound:
		out.TrafficDirection = corev3.TrafficDirection_INBOUND
		return inboundChains(out, in, false)
	}
	return nil, fmt.Errorf("unknown kind %d", l.Kind)
}

// bindName is the address as it stands in Istio's names.
func bindName(address string) string {
	if address == "" {
		return "0.0.0.0"
	}
	return address
}

// virtualOutbound catches every intercepted connection and hands it to the listener of its own destination; what no
// listener takes goes to l.Cluster. Connections to the port itself would go round for ever: they end.
func virtualOutbound(out *listenerv3.Listener, in listenerInput) error {
	out.UseOriginalDst = wrapperspb.Bool(true)
	trap, err := tcpChain(in, "virtualOutbound-blackhole", blackHole)
	if err != nil {
		return err
	}
	trap.FilterChainMatch = &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(in.Listener.Port)}
	rest, err := tcpChain(in, "virtualOutbound-catchall-tcp", in.Listener.Cluster)
	if err != nil {
		return err
	}
	out.FilterChains = []*listenerv3.FilterChain{trap}
	out.DefaultFilterChain = rest
	return nil
}

// stat is the name of a cluster in statistics.
func (in listenerInput) stat(cluster string) string {
	return cmp.Or(in.Listener.Stats[cluster], cluster)
}

func tcpChain(in listenerInput, name, cluster string) (*listenerv3.FilterChain, error) {
	stat := in.stat(cluster)
	if strings.HasPrefix(name, "virtual") || stat == "" {
		stat = name
	}
	proxy := &tcpproxyv3.TcpProxy{
		StatPrefix: stat, ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		IdleTimeout: optional(in.TCPIdleTimeout),
	}
	if cluster == in.Listener.Cluster {
		proxy.TunnelingConfig = tunnelTo(in.Tunnel)
	}
	var err error
	if proxy.AccessLog, err = accessLogs(in, false); err != nil {
		return nil, err
	}
	return tcpFilters(in, name, proxy)
}

func httpChain(in listenerInput, role httpRole) (*listenerv3.FilterChain, error) {
	m, err := connectionManager(in, role)
	if err != nil {
		return nil, err
	}
	chain, err := filterChain(role.Name, "envoy.filters.network.http_connection_manager", m)
	if err != nil {
		return nil, err
	}
	extensions, err := tcpExtensions(in, mesh.PhaseAuthn, mesh.PhaseAuthz, mesh.PhaseStats, "")
	chain.Filters = append(extensions, chain.Filters...)
	return chain, err
}

func filterChain(name, filter string, config proto.Message) (*listenerv3.FilterChain, error) {
	packed, err := toAny(config)
	if err != nil {
		return nil, err
	}
	return &listenerv3.FilterChain{Name: name, Filters: []*listenerv3.Filter{{
		Name: filter, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed},
	}}}, nil
}

func httpFilter(name string, config proto.Message) (*hcmv3.HttpFilter, error) {
	packed, err := toAny(config)
	if err != nil {
		return nil, err
	}
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed}}, nil
}
