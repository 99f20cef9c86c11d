package analyze

import (
	"fmt"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	corev1 "k8s.io/api/core/v1"
)

// services checks what Services make of the same pods, and the names of ports that lead out.
func (a *analyzer) services() {
	for _, t := range a.templates {
		a.sharedPorts(t)
	}
	for _, o := range a.set.Services {
		if o.Spec.Spec.Type == corev1.ServiceTypeExternalName {
			a.externalPorts(o)
		}
	}
}

// sharedPorts finds Services that do not agree on a port of the pods: the proxy before them goes by the first.
func (a *analyzer) sharedPorts(t template) {
	type use struct {
		svc  *mesh.Service
		port *mesh.Port
	}
	first := map[string]use{}
	for _, s := range a.world.Services {
		if s.Namespace != t.meta.Namespace || s.Selector == nil || !mesh.Selects(s.Selector, t.labels) {
			continue
		}
		for _, p := range s.Ports {
			target := p.TargetName
			if target == "" {
				target = fmt.Sprint(p.TargetPort)
			}
			have, ok := first[target]
			switch {
			case !ok:
				first[target] = use{s, p}
			case have.port.Protocol != p.Protocol:
				a.report(t.meta, t.path+"metadata.labels", istio.Warning, codeManyServices,
					fmt.Sprintf("port %s is %s to %s and %s to %s: the proxy before it takes it for %s", target,
						have.port.Protocol, originAt(have.svc.Origin), p.Protocol, originAt(s.Origin), have.port.Protocol),
					"name the ports of both Services for one protocol")
			case have.port.Number != p.Number:
				a.report(t.meta, t.path+"metadata.labels", istio.Warning, codeTwoPorts,
					fmt.Sprintf("port %s is %d of %s and %d of %s: the connection limits of a DestinationRule that hold before it are those for %d", target,
						have.port.Number, originAt(have.svc.Origin), p.Number, originAt(s.Origin), have.port.Number),
					"let both Services have it under one number")
			}
		}
	}
}

// externalPorts: what leads to another host cannot be told apart by its address.
func (a *analyzer) externalPorts(o *istio.Object[*corev1.Service]) {
	s := a.service(istio.Ref{Kind: "Service", Namespace: o.Namespace, Name: o.Name})
	if s == nil {
		return
	}
	for i, p := range o.Spec.Spec.Ports {
		mp := s.PortByNumber(uint32(p.Port))
		if mp == nil || mp.Protocol != mesh.TCP {
			continue
		}
		a.report(&o.Meta, fmt.Sprintf("spec.ports[%d]", i), istio.Warning, codeExternalPort,
			fmt.Sprintf("port %d of an ExternalName Service is TCP: it has no address of its own, so every connection to that port that nothing else takes goes to %s",
				p.Port, o.Spec.Spec.ExternalName), "name it for the protocol that is spoken, such as http or tls")
	}
}

func (a *analyzer) service(ref istio.Ref) *mesh.Service {
	for _, s := range a.world.Services {
		if s.Origin.Kind == ref.Kind && s.Origin.Namespace == ref.Namespace && s.Origin.Name == ref.Name {
			return s
		}
	}
	return nil
}

// serviceEntries finds ports that take connections meant for others.
func (a *analyzer) serviceEntries() {
	for _, o := range a.set.ServiceEntries {
		s := a.service(o.Ref)
		if s == nil || len(s.Addresses) > 0 {
			continue
		}
		for i, p := range o.Spec.GetPorts() {
			if mp := s.PortByNumber(p.GetNumber()); mp != nil && mp.Protocol == mesh.TCP {
				a.report(&o.Meta, fmt.Sprintf("spec.ports[%d]", i), istio.Warning, codeNoAddresses,
					fmt.Sprintf("port %d is TCP and the entry has no addresses: every connection to that port that nothing else takes is meant", p.GetNumber()),
					"add addresses, or write protocol: TLS if it is")
			}
		}
	}
}
