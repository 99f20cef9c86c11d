package compile

import (
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
)

// peers lowers the PeerAuthentications, oldest first.
func (c *compiler) peers() {
	for _, o := range c.set.PeerAuthentications {
		p := &mesh.PeerPolicy{
			Namespace: o.Namespace, Name: o.Name, Mode: peerMode(o.Spec.GetMtls()), Origin: origin(&o.Meta, ""),
		}
		if l := o.Spec.GetSelector().GetMatchLabels(); len(l) > 0 {
			p.Selector = l
		}
		for port, m := range o.Spec.GetPortLevelMtls() {
			if p.Ports == nil {
				p.Ports = map[uint32]mesh.PeerMode{}
			}
			p.Ports[port] = peerMode(m)
		}
		c.shadowedPeer(&o.Meta, p)
		c.world.Peers = append(c.world.Peers, p)
	}
}

// peerMode is "" for what inherits.
func peerMode(m *security.PeerAuthentication_MutualTLS) mesh.PeerMode {
	switch m.GetMode() {
	case security.PeerAuthentication_MutualTLS_DISABLE:
		return mesh.PeerDisable
	case security.PeerAuthentication_MutualTLS_PERMISSIVE:
		return mesh.PeerPermissive
	case security.PeerAuthentication_MutualTLS_STRICT:
		return mesh.PeerStrict
	}
	return ""
}

// shadowedPeer tells of a policy for the same workloads as an older one, which alone counts.
func (c *compiler) shadowedPeer(m *istio.Meta, p *mesh.PeerPolicy) {
	for _, older := range c.world.Peers {
		if older.Namespace == p.Namespace && (older.Selector == nil) == (p.Selector == nil) && sameLabels(older.Selector, p.Selector) {
			c.report(m, "spec", istio.Error, codeSecondPeer,
				fmt.Sprintf("the older PeerAuthentication at %s is for the same workloads and counts; this one has no effect", originAt(older.Origin)),
				"keep one of them")
			return
		}
	}
}

func sameLabels(a, b map[string]string) bool {
	return len(a) == len(b) && mesh.Selects(a, b)
}

// mutualTLS tells whether connections to a workload's port are to be encrypted: a proxy with an identity is before it (by the
// label that Istio's injector writes; a WorkloadEntry with a service account has one), and it takes them.
func (c *compiler) mutualTLS(w *mesh.Workload, port uint32) bool {
	mode, labelled := w.Labels[mesh.LabelTLSMode]
	if !labelled && w.Entry && w.ServiceAccount != "" {
		mode = mesh.TLSModeIstio
	}
	return mode == mesh.TLSModeIstio && c.peerModes(w).On(port) != mesh.PeerDisable
}

// peerModes is what a workload takes.
func (c *compiler) peerModes(w *mesh.Workload) mesh.PeerModes {
	if len(c.world.Peers) == 0 {
		return mesh.PeerModes{Mode: mesh.PeerPermissive}
	}
	if m, ok := c.modes[w]; ok {
		return m
	}
	if c.modes == nil {
		c.modes = map[*mesh.Workload]mesh.PeerModes{}
	}
	m := mesh.PeerModesOf(c.world.Peers, c.world.Settings.RootNamespace, w.Namespace, w.Labels)
	c.modes[w] = m
	return m
}

// entryTLS is mutualTLS of an endpoint that a ServiceEntry itself lists.
func (c *compiler) entryTLS(s *mesh.Service, e *networking.WorkloadEntry, port uint32) bool {
	return c.mutualTLS(&mesh.Workload{
		Namespace: s.Namespace, Labels: e.GetLabels(), ServiceAccount: e.GetServiceAccount(), Entry: true,
	}, port)
}

// credentials are the Secrets that a DestinationRule names.
func credentials(in *networking.DestinationRule) []string {
	var out []string
	policy := func(p *networking.TrafficPolicy) {
		tls := []*networking.ClientTLSSettings{p.GetTls()}
		for _, port := range p.GetPortLevelSettings() {
			tls = append(tls, port.GetTls())
		}
		for _, t := range tls {
			if n := t.GetCredentialName(); n != "" {
				out = append(out, n)
			}
		}
	}
	policy(in.GetTrafficPolicy())
	for _, s := range in.GetSubsets() {
		policy(s.GetTrafficPolicy())
	}
	return out
}

// clientTLS lowers a DestinationRule's tls; nil for nil. A secret is one of the proxy's own namespace, served by the control
// plane to gateways.
func clientTLS(in *networking.ClientTLSSettings) *mesh.ClientTLS {
	if in == nil {
		return nil
	}
	out := &mesh.ClientTLS{
		Mode: in.GetMode().String(), SANs: slices.Clone(in.GetSubjectAltNames()), SNI: in.GetSni(), Insecure: in.GetInsecureSkipVerify().GetValue(),
	}
	switch in.GetMode() {
	case networking.ClientTLSSettings_DISABLE:
		return &mesh.ClientTLS{Mode: mesh.TLSDisable}
	case networking.ClientTLSSettings_ISTIO_MUTUAL:
		out.Certificate, out.Roots = mesh.CertSource{Secret: mesh.SecretIdentity}, mesh.CertSource{Secret: mesh.SecretRoots}
		return out
	}
	if name := in.GetCredentialName(); name != "" {
		out.Roots = mesh.CertSource{Secret: mesh.KubernetesSecret + name + mesh.RootsSuffix}
		if in.GetMode() == networking.ClientTLSSettings_MUTUAL {
			out.Certificate = mesh.CertSource{Secret: mesh.KubernetesSecret + name}
		}
		return out
	}
	if ca := in.GetCaCertificates(); ca != "" {
		out.Roots = mesh.CertSource{CA: ca, CRL: in.GetCaCrl()}
	}
	if in.GetMode() == networking.ClientTLSSettings_MUTUAL {
		out.Certificate = mesh.CertSource{Certificate: in.GetClientCertificate(), Key: in.GetPrivateKey()}
	}
	return out
}
