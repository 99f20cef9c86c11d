package compile

import (
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// sidecars lowers Sidecar resources, oldest first.
func (c *compiler) sidecars() {
	for _, o := range c.set.Sidecars {
		s := &mesh.Sidecar{Namespace: o.Namespace, Name: o.Name, Origin: origin(&o.Meta, "")}
		if l := o.Spec.GetWorkloadSelector().GetLabels(); len(l) > 0 {
			s.Selector = l
		}
		for _, e := range o.Spec.GetEgress() {
			for _, h := range e.GetHosts() {
				s.Egress = append(s.Egress, egressHost(h, o.Namespace, e.GetPort().GetNumber()))
			}
		}
		if p := o.Spec.GetOutboundTrafficPolicy(); p != nil {
			v := p.GetMode() == networking.OutboundTrafficPolicy_ALLOW_ANY
			s.OutboundAny = &v
		}
		c.world.Sidecars = append(c.world.Sidecars, s)
	}
}

// egressHost splits "namespace/host"; without a namespace it is any.
func egressHost(h, namespace string, port uint32) mesh.EgressHost {
	ns, host, ok := strings.Cut(h, "/")
	if !ok {
		ns, host = "*", h
	}
	if ns == "." {
		ns = namespace
	}
	return mesh.EgressHost{Namespace: ns, Host: strings.ToLower(host), Port: port}
}
