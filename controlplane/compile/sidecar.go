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
			if d := p.GetEgressProxy(); d != nil {
				s.EgressProxy = &mesh.Destination{Hostname: c.fqdn(d.GetHost(), o.Namespace), Subset: d.GetSubset(), Port: d.GetPort().GetNumber()}
			}
		}
		s.InboundPool = connectionPool(o.Spec.GetInboundConnectionPool())
		for i, in := range o.Spec.GetIngress() {
			s.Ingress = append(s.Ingress, &mesh.Ingress{
				Port: in.GetPort().GetNumber(), Name: in.GetPort().GetName(), Protocol: specProtocol(in.GetPort().GetProtocol()),
				Bind: in.GetBind(), Own: in.GetCaptureMode() == networking.CaptureMode_NONE, Target: in.GetDefaultEndpoint(),
				Pool: connectionPool(in.GetConnectionPool()), Origin: origin(&o.Meta, index("spec.ingress", i)),
			})
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
