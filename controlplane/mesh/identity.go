package mesh

import "slices"

// LabelTLSMode on a pod says that a proxy with an identity stands before it, if its value is TLSModeIstio: what Istio's injector
// writes. As endpoint metadata the same pair chooses the transport socket.
const (
	LabelTLSMode = "security.istio.io/tlsMode"
	TLSModeIstio = "istio"
)

// PeerMode is what an inbound port takes: PeerAuthentication's mtls.mode.
type PeerMode string

// Peer modes. "" inherits, or is not decided yet.
const (
	PeerDisable    PeerMode = "DISABLE"    // plaintext
	PeerPermissive PeerMode = "PERMISSIVE" // both, the default
	PeerStrict     PeerMode = "STRICT"     // mesh TLS with a client certificate only
	// PeerRefuse takes nothing: STRICT before a workload that has no certificate. Of views only.
	PeerRefuse PeerMode = "REFUSE"
)

// PeerPolicy is one PeerAuthentication.
type PeerPolicy struct {
	Namespace, Name string
	Selector        map[string]string // nil: every workload of the namespace; of the mesh if it is the root namespace
	Mode            PeerMode          // "": inherit
	Ports           map[uint32]PeerMode
	Origin          Origin
}

// PeerModes is what one workload takes.
type PeerModes struct {
	Mode  PeerMode
	Ports map[uint32]PeerMode // by workload port; nil: all as Mode
}

// On is the mode of one workload port.
func (m PeerModes) On(port uint32) PeerMode {
	if own, ok := m.Ports[port]; ok {
		return own
	}
	return m.Mode
}

// PeerModesOf finds what a workload takes: the mesh's policy, then the namespace's, then the one that selects the workload (in
// its namespace before in the root namespace); each says what it says and inherits the rest. Of several of one kind the first
// counts, which is the oldest. Istio's ComposePeerAuthentication.
func PeerModesOf(policies []*PeerPolicy, root, namespace string, labels map[string]string) PeerModes {
	var scopes [4]*PeerPolicy // mesh, namespace, selected from the root namespace, selected
	for _, p := range policies {
		own := p.Namespace == namespace
		if !own && p.Namespace != root || p.Selector != nil && !Selects(p.Selector, labels) {
			continue
		}
		i := 0
		switch {
		case p.Selector != nil && own:
			i = 3
		case p.Selector != nil:
			i = 2
		case p.Namespace != root:
			i = 1
		}
		if scopes[i] == nil {
			scopes[i] = p
		}
	}
	if scopes[3] != nil {
		scopes[2] = nil
	}
	out := PeerModes{Mode: PeerPermissive}
	for _, p := range scopes {
		if p != nil && p.Mode != "" {
			out.Mode = p.Mode
		}
	}
	for _, p := range slices.Backward(scopes[2:]) {
		if p != nil {
			out.Ports = p.on(out.Mode)
		}
	}
	return out
}

// on resolves the ports' modes.
func (p *PeerPolicy) on(inherited PeerMode) map[uint32]PeerMode {
	var out map[uint32]PeerMode
	for port, m := range p.Ports {
		if m == "" {
			m = inherited
		}
		if out == nil {
			out = map[uint32]PeerMode{}
		}
		out[port] = m
	}
	return out
}

// SPIFFE is the identity of a service account in a certificate.
func SPIFFE(trustDomain, namespace, serviceAccount string) string {
	return "spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + serviceAccount
}

// ServerName is the SNI of mesh TLS to a service port or a subset of it, as Istio forms it from the cluster's name:
// "outbound_.9080_.v1_.reviews.default.svc.cluster.local".
func ServerName(port uint32, subset, hostname string) string {
	name := []byte(OutboundCluster(port, subset, hostname))
	out := make([]byte, 0, len(name)+6)
	for _, b := range name {
		if b == '|' {
			out = append(out, '_', '.')
			continue
		}
		out = append(out, b)
	}
	return string(out)
}
