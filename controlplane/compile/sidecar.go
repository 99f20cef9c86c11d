package compile

import (
	"cmp"
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
		for i, e := range o.Spec.GetEgress() {
			first := len(s.Egress)
			for _, h := range e.GetHosts() {
				s.Egress = append(s.Egress, egressHost(h, o.Namespace, e.GetPort().GetNumber()))
			}
			if l := egressListener(e); l != nil {
				l.Hosts, l.Origin = s.Egress[first:len(s.Egress):len(s.Egress)], origin(&o.Meta, index("spec.egress", i))
				s.Listeners = append(s.Listeners, l)
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

// egressListener is the listener that an egress describes; nil if it is as the services' ports ask for.
func egressListener(e *networking.IstioEgressListener) *mesh.EgressListener {
	if e.GetBind() == "" && e.GetCaptureMode() != networking.CaptureMode_NONE {
		return nil
	}
	return &mesh.EgressListener{
		Port: e.GetPort().GetNumber(), Protocol: specProtocol(cmp.Or(e.GetPort().GetProtocol(), "HTTP")), Bind: e.GetBind(),
		Own: e.GetCaptureMode() == networking.CaptureMode_NONE || strings.HasPrefix(e.GetBind(), unixSocket),
	}
}

// unixSocket begins the address of a Unix socket.
const unixSocket = "unix://"

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
