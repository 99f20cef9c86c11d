package analyze

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// gateways checks what Gateways share, and whether their ports can be reached.
func (a *analyzer) gateways() {
	for i, o := range a.set.Gateways {
		a.sharedSecrets(o, a.set.Gateways[:i])
		a.gatewayPorts(o)
	}
	a.meetings()
}

// sharedSecrets: a client that has a connection for one host may use it for another host of the same certificate, which then comes to a
// server that does not know it.
func (a *analyzer) sharedSecrets(o *istio.Object[*networking.Gateway], before []*istio.Object[*networking.Gateway]) {
	for i, s := range o.Spec.GetServers() {
		name := s.GetTls().GetCredentialName()
		if name == "" {
			continue
		}
		for _, other := range before {
			same := func(x *networking.Server) bool {
				return x.GetTls().GetCredentialName() == name && x.GetPort().GetNumber() == s.GetPort().GetNumber()
			}
			if other.Namespace == o.Namespace && maps.Equal(other.Spec.GetSelector(), o.Spec.GetSelector()) && slices.ContainsFunc(other.Spec.GetServers(), same) {
				a.report(&o.Meta, fmt.Sprintf("spec.servers[%d].tls.credentialName", i), istio.Warning, codeSharedSecret,
					fmt.Sprintf("%s offers the certificate %s on the same pods and port: a client that has a connection to the one sends requests for the other on it, which get 404",
						objectAt(&other.Meta), name),
					"name all hosts of the certificate on one server")
				break
			}
		}
	}
}

// gatewayPorts: Services that lead to the pods say which of their ports can be reached.
func (a *analyzer) gatewayPorts(o *istio.Object[*networking.Gateway]) {
	var services []*mesh.Service
	for _, s := range a.world.Services {
		if s.Selector != nil && slices.ContainsFunc(a.templates, func(t template) bool {
			return t.meta.Namespace == s.Namespace && mesh.Selects(o.Spec.GetSelector(), t.labels) && mesh.Selects(s.Selector, t.labels)
		}) {
			services = append(services, s)
		}
	}
	if len(services) == 0 {
		return
	}
	for i, srv := range o.Spec.GetServers() {
		n := srv.GetPort().GetNumber()
		leads := func(p *mesh.Port) bool { return p.Number == n || p.TargetPort == n }
		if !slices.ContainsFunc(services, func(s *mesh.Service) bool { return slices.ContainsFunc(s.Ports, leads) }) {
			a.report(&o.Meta, fmt.Sprintf("spec.servers[%d].port.number", i), istio.Warning, codeGatewayPort,
				fmt.Sprintf("no port of %s leads to port %d of the gateway's pods", originAt(services[0].Origin), n), fmt.Sprintf("add port %d to the Service", n))
		}
	}
}
