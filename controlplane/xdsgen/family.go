package xdsgen

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnscommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Inbound connections reach the application from these addresses, as Istio's, so that the interception rules let them pass.
const (
	inboundSource  = "127.0.0.6"
	inboundSource6 = "::6"
)

// lookupFamily is what names are looked up as: where there are both kinds of addresses, an IPv6 one counts only if there is no other,
// for the way to the world outside may be IPv4's alone.
func lookupFamily(f mesh.Families) clusterv3.Cluster_DnsLookupFamily {
	switch f {
	case mesh.IPv6:
		return clusterv3.Cluster_V6_ONLY
	case mesh.DualStack:
		return clusterv3.Cluster_V4_PREFERRED
	}
	return clusterv3.Cluster_V4_ONLY
}

// dnsFamily is the same under the other name that Envoy has for it.
func dnsFamily(f mesh.Families) dnscommonv3.DnsLookupFamily {
	return dnscommonv3.DnsLookupFamily(dnscommonv3.DnsLookupFamily_value[lookupFamily(f).String()])
}

// inboundBind is where connections to the application come from.
func inboundBind(f mesh.Families) *corev3.BindConfig {
	source := func(a string) *corev3.SocketAddress { return socket(a, 0).GetSocketAddress() }
	switch f {
	case mesh.IPv6:
		return &corev3.BindConfig{SourceAddress: source(inboundSource6)}
	case mesh.DualStack:
		return &corev3.BindConfig{
			SourceAddress: source(inboundSource), ExtraSourceAddresses: []*corev3.ExtraSourceAddress{{Address: source(inboundSource6)}},
		}
	}
	return &corev3.BindConfig{SourceAddress: source(inboundSource)}
}
