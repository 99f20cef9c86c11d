package view

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// peerModes is what the ports of a workload take, "" for plaintext. Without an identity of its own, what is PERMISSIVE is
// plaintext, and what is STRICT takes nothing.
func (c *Cache) peerModes(n mesh.Node) mesh.PeerModes {
	m := mesh.PeerModesOf(c.world.Peers, c.world.Settings.RootNamespace, n.Namespace, n.Labels)
	able := func(p mesh.PeerMode) mesh.PeerMode {
		switch {
		case p == mesh.PeerDisable:
			return ""
		case n.Identity:
			return p
		case p == mesh.PeerStrict:
			return mesh.PeerRefuse
		}
		return ""
	}
	out := mesh.PeerModes{Mode: able(m.Mode)}
	for port, p := range m.Ports {
		if out.Ports == nil {
			out.Ports = map[uint32]mesh.PeerMode{}
		}
		out.Ports[port] = able(p)
	}
	return out
}

// upstreamTLS decides how connections of a service's cluster are encrypted: as its DestinationRule says; without it, by mesh TLS
// to the endpoints that take it.
func (c *Cache) upstreamTLS(k clusterKey, svc *mesh.Service, cl *mesh.Cluster) *mesh.UpstreamTLS {
	if cl.Traffic == nil || cl.Traffic.TLS == nil {
		return c.autoTLS(k, svc)
	}
	t := cl.Traffic.TLS
	switch t.Mode {
	case mesh.TLSDisable:
		return nil
	case mesh.TLSIstioMutual:
		out := c.meshTLS(k, svc)
		out.SNI = cmp.Or(t.SNI, out.SNI)
		if len(t.SANs) > 0 {
			out.SANs = t.SANs
		}
		if !k.identity {
			// The proxy cannot prove who it is, nor verify the mesh's certificates. No public root vouches for these: the
			// connection fails, as it must where plaintext was not allowed.
			out.Certificate, out.Roots = mesh.CertSource{}, mesh.CertSource{}
		}
		return out
	}
	out := &mesh.UpstreamTLS{
		Certificate: t.Certificate, Roots: t.Roots, SANs: t.SANs, SNI: t.SNI, HostSNI: cl.Protocol.IsHTTP(), Insecure: t.Insecure,
		Parameters: c.world.Settings.OtherTLS,
	}
	if len(out.SANs) == 0 {
		out.SANs = svc.SANs
	}
	out.Insecure = out.Insecure || c.world.Settings.Unverified && out.Roots.IsZero() && len(out.SANs) == 0
	if !k.gateway { // Secrets are for gateways: without one nothing but a public server passes
		out.Certificate, out.Roots = withoutSecret(out.Certificate), withoutSecret(out.Roots)
	}
	return out
}

func withoutSecret(s mesh.CertSource) mesh.CertSource {
	if strings.HasPrefix(s.Secret, mesh.KubernetesSecret) {
		return mesh.CertSource{}
	}
	return s
}

// autoTLS is mesh TLS to the endpoints that take it; nil if none does, or if the proxy has no identity.
func (c *Cache) autoTLS(k clusterKey, svc *mesh.Service) *mesh.UpstreamTLS {
	if !k.identity || svc.External || !c.world.Settings.AutoMTLS || k.kind != mesh.ClusterEDS && k.kind != mesh.ClusterStrictDNS {
		return nil
	}
	if !slices.ContainsFunc(c.world.Endpoints[k.endpoints()], func(e *mesh.Endpoint) bool { return e.TLS }) {
		return nil
	}
	t := c.meshTLS(k, svc)
	t.Auto = true
	return t
}

func (k clusterKey) endpoints() mesh.EndpointKey {
	return mesh.EndpointKey{Hostname: k.host, Namespace: k.namespace, Port: k.port}
}

// meshTLS is TLS with the workload's own identity to whoever runs under a service account of the service.
func (c *Cache) meshTLS(k clusterKey, svc *mesh.Service) *mesh.UpstreamTLS {
	t := &mesh.UpstreamTLS{
		Certificate: mesh.CertSource{Secret: mesh.SecretIdentity}, Roots: mesh.CertSource{Secret: mesh.SecretRoots},
		SNI: mesh.ServerName(k.port, k.subset, k.host), SANs: slices.Clone(svc.SANs), Mesh: true, Parameters: c.world.Settings.MeshTLS,
	}
	for _, e := range c.world.Endpoints[k.endpoints()] {
		if e.ServiceAccount != "" {
			t.SANs = append(t.SANs, mesh.SPIFFE(c.world.Settings.TrustDomain, k.namespace, e.ServiceAccount))
		}
	}
	slices.Sort(t.SANs)
	t.SANs = slices.Compact(t.SANs)
	return t
}
