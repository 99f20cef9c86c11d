package xdsgen

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

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
	rest := &mesh.Inbound{Cluster: in.Listener.Cluster, Peer: in.Listener.Peer, Auth: in.Listener.Auth, Extensions: in.Listener.Extensions}
	return tables, addInbound(out, in, rest, "virtualInbound-catchall-tcp", false)
}

// inboundChains adds the chains of each inbound port; byPort selects among them by the destination's port.
func inboundChains(out *listenerv3.Listener, in listenerInput, byPort bool) ([]string, error) {
	var tables []string
	for _, i := range in.Listener.Inbound {
		if i.Table != "" && i.Peer != mesh.PeerRefuse { // a port that takes nothing asks for no table
			tables = append(tables, i.Table)
		}
		if err := addInbound(out, in, i, fmt.Sprintf("%s_%d", bindName(in.Listener.Address), i.Port), byPort); err != nil {
			return nil, err
		}
	}
	inspectInbound(out, in)
	return tables, nil
}

// securedInbound tells whether any port takes or wants mesh TLS.
func securedInbound(l *mesh.Listener) bool {
	return secured(l.Peer) || slices.ContainsFunc(l.Inbound, func(i *mesh.Inbound) bool { return secured(i.Peer) })
}

func secured(m mesh.PeerMode) bool { return m != "" && m != mesh.PeerDisable }

// door is one kind of connection that a port takes.
type door struct {
	transport string // overTLS, plaintext; "": any
	alpn      []string
	tls       bool // it ends here, and the client shows a certificate
	http      bool // what comes in is requests
}

// meshProtocols are what mesh clients offer by ALPN, ours and Istio's.
func meshProtocols() []string { return append(meshBytes(), meshHTTP()...) }

// meshBytes they offer where what they send is, or may be, no request; meshHTTP where it is one.
func meshBytes() []string { return []string{"istio-peer-exchange", "istio"} }

func meshHTTP() []string { return []string{"istio-http/1.0", "istio-http/1.1", "istio-h2"} }

// doors of a port: in PERMISSIVE mode a TLS connection that is not of the mesh is the application's own, unless it is to be HTTP.
func doors(mode mesh.PeerMode, http bool) []door {
	switch {
	case mode == mesh.PeerStrict:
		return []door{{transport: overTLS, tls: true, http: http}}
	case mode == mesh.PeerPermissive && http:
		return []door{{transport: overTLS, alpn: meshProtocols(), tls: true, http: true}, {transport: plaintext, http: true}}
	case mode == mesh.PeerPermissive:
		return []door{{transport: overTLS, alpn: meshBytes(), tls: true}, {transport: overTLS}, {transport: plaintext}}
	}
	return []door{{http: http}}
}

// detectedDoors are those of a port of which nobody says what it speaks. Inside of mesh TLS nothing can be looked at: there the client
// says it. Envoy, once it has found a chain for a transport, does not look at those for any.
func detectedDoors(mode mesh.PeerMode) []door {
	open := []door{{transport: plaintext, alpn: plainProtocols(), http: true}, {transport: plaintext}, {transport: overTLS}}
	switch mode {
	case mesh.PeerStrict:
		return []door{{transport: overTLS, alpn: meshHTTP(), tls: true, http: true}, {transport: overTLS, tls: true}}
	case mesh.PeerPermissive:
		return append([]door{{transport: overTLS, alpn: meshHTTP(), tls: true, http: true}, {transport: overTLS, alpn: meshBytes(), tls: true}}, open...)
	}
	return open
}

// addInbound adds the chains of one port.
func addInbound(out *listenerv3.Listener, in listenerInput, i *mesh.Inbound, name string, byPort bool) error {
	all := doors(i.Peer, i.Table != "" && i.Peer != mesh.PeerRefuse)
	if detects(i) {
		all = detectedDoors(i.Peer)
	}
	for _, d := range all {
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
	in.Auth, in.Extensions = i.Auth, i.Extensions
	switch {
	case i.Peer == mesh.PeerRefuse:
		chain, err = tcpChain(in, name, blackHole)
	case !d.http:
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
	if p := in.MeshTLS; p != nil {
		t.MinVersion, t.CipherSuites = p.MinVersion, p.CipherSuites
	}
	if d.http {
		t.ALPN = []string{"h2", "http/1.1"}
	}
	chain.TransportSocket, err = serverTransport(t)
	return chain, err
}
