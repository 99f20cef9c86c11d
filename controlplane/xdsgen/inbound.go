package xdsgen

import (
	"fmt"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// inspectTimeout is how long a PERMISSIVE port waits for a client's first bytes to know TLS by. Then it takes plaintext: in some
// protocols the server speaks first.
const inspectTimeout = 5 * time.Second

// virtualInbound takes every intercepted inbound connection, by chains for each port, the rest to l.Cluster if there is one.
func virtualInbound(out *listenerv3.Listener, in listenerInput) ([]string, error) {
	out.TrafficDirection = corev3.TrafficDirection_INBOUND
	out.ListenerFilters = []*listenerv3.ListenerFilter{{
		Name:       "envoy.filters.listener.original_dst",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&originaldstv3.OriginalDst{})},
	}}
	trap, err := tcpChain(in, "virtualInbound-blackhole", blackHole)
	if err != nil {
		return nil, err
	}
	trap.FilterChainMatch = &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(in.Listener.Port)}
	out.FilterChains = []*listenerv3.FilterChain{trap}
	tables, err := inboundChains(out, in, true)
	if err != nil || in.Listener.Cluster == "" {
		return tables, err
	}
	if !securedInbound(in.Listener) {
		out.DefaultFilterChain, err = tcpChain(in, "virtualInbound-catchall-tcp", in.Listener.Cluster)
		return tables, err
	}
	// A default chain would also take what no chain of a port takes, such as plaintext to a STRICT one.
	rest := &mesh.Inbound{Cluster: in.Listener.Cluster, Peer: in.Listener.Peer, Auth: in.Listener.Auth}
	return tables, addInbound(out, in, rest, "virtualInbound-catchall-tcp", false)
}

// inboundChains adds the chains of each inbound port; byPort selects among them by the destination's port.
func inboundChains(out *listenerv3.Listener, in listenerInput, byPort bool) ([]string, error) {
	var tables []string
	for _, i := range in.Listener.Inbound {
		if i.Table != "" {
			tables = append(tables, i.Table)
		}
		if err := addInbound(out, in, i, fmt.Sprintf("%s_%d", bindName(in.Listener.Address), i.Port), byPort); err != nil {
			return nil, err
		}
	}
	inspectTLS(out, in.Listener)
	return tables, nil
}

// securedInbound tells whether any port takes or wants mesh TLS.
func securedInbound(l *mesh.Listener) bool {
	plain := func(m mesh.PeerMode) bool { return m == "" || m == mesh.PeerDisable }
	return !plain(l.Peer) || slices.ContainsFunc(l.Inbound, func(i *mesh.Inbound) bool { return !plain(i.Peer) })
}

// door is one kind of connection that a port takes.
type door struct {
	transport string // "tls", "raw_buffer"; "": any
	alpn      []string
	tls       bool // it ends here, and the client shows a certificate
}

// meshProtocols are what mesh clients offer by ALPN, ours and Istio's; the first two where the port is not HTTP.
func meshProtocols(http bool) []string {
	all := []string{"istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"}
	if http {
		return all
	}
	return all[:2]
}

// doors of a port: in PERMISSIVE mode a TLS connection that is not of the mesh is the application's own, unless it is to be HTTP.
func doors(mode mesh.PeerMode, http bool) []door {
	switch {
	case mode == mesh.PeerStrict:
		return []door{{transport: "tls", tls: true}}
	case mode == mesh.PeerPermissive && http:
		return []door{{transport: "tls", alpn: meshProtocols(http), tls: true}, {transport: "raw_buffer"}}
	case mode == mesh.PeerPermissive:
		return []door{{transport: "tls", alpn: meshProtocols(http), tls: true}, {transport: "tls"}, {transport: "raw_buffer"}}
	}
	return []door{{}}
}

// addInbound adds the chains of one port.
func addInbound(out *listenerv3.Listener, in listenerInput, i *mesh.Inbound, name string, byPort bool) error {
	http := i.Table != "" && i.Peer != mesh.PeerRefuse
	for _, d := range doors(i.Peer, http) {
		chain, err := inboundChain(in, i, name, d)
		if err != nil {
			return err
		}
		m := &listenerv3.FilterChainMatch{TransportProtocol: d.transport, ApplicationProtocols: d.alpn}
		if byPort {
			m.DestinationPort = wrapperspb.UInt32(i.Port)
		}
		if byPort || d.transport != "" {
			chain.FilterChainMatch = m
		}
		out.FilterChains = append(out.FilterChains, chain)
	}
	return nil
}

func inboundChain(in listenerInput, i *mesh.Inbound, name string, d door) (chain *listenerv3.FilterChain, err error) {
	in.Auth = i.Auth
	switch {
	case i.Peer == mesh.PeerRefuse:
		chain, err = tcpChain(in, name, blackHole)
	case i.Table == "":
		chain, err = tcpChain(in, name, i.Cluster)
	default:
		chain, err = httpChain(in, httpRole{Table: i.Table, Stat: "inbound_" + name + ";", Name: name, Inbound: true})
	}
	if err != nil || !d.tls {
		return chain, err
	}
	t := &mesh.ServerTLS{
		Certificates: []mesh.CertSource{{Secret: mesh.SecretIdentity}}, Roots: mesh.CertSource{Secret: mesh.SecretRoots}, RequireClient: true,
	}
	if i.Table != "" {
		t.ALPN = []string{"h2", "http/1.1"}
	}
	chain.TransportSocket, err = serverTransport(t)
	return chain, err
}

// inspectTLS has the listener find out whether a connection is TLS, if any of its ports asks.
func inspectTLS(out *listenerv3.Listener, l *mesh.Listener) {
	if !securedInbound(l) {
		return
	}
	out.ListenerFilters = append(out.ListenerFilters, &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&tlsinspectorv3.TlsInspector{})},
	})
	out.ListenerFiltersTimeout, out.ContinueOnListenerFiltersTimeout = durationpb.New(inspectTimeout), true
}

// setPeerHeader tells the application who calls it: x-forwarded-client-cert, of connections with a client certificate. From others
// the header is taken away, for anybody could write it. As Istio does.
func setPeerHeader(out *hcmv3.HttpConnectionManager) {
	out.ForwardClientCertDetails = hcmv3.HttpConnectionManager_APPEND_FORWARD
	out.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
		Subject: wrapperspb.Bool(true), Uri: true, Dns: true,
	}
}
