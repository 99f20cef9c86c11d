package compile

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// analyzeEgressPorts tells of listeners of a Sidecar on a port of the workload's own address that is taken: by the workload, or by
// what every proxy listens on. See egressListeners in view.
func (c *compiler) analyzeEgressPorts() {
	for i, s := range c.world.Sidecars {
		o := c.set.Sidecars[i]
		for j, e := range o.Spec.GetEgress() {
			l := egressListener(e)
			if !onOwnAddress(l) {
				continue
			}
			who := c.listens(s, l.Port)
			if l.Port >= proxyPorts && l.Port < proxyPortsEnd {
				who = "every proxy"
			}
			if who == "" {
				continue
			}
			so := "where listeners are bound, as in the local mesh, this one is left out"
			if l.Own {
				so = "in the local mesh this listener is left out, in a cluster one of the two finds the port taken"
			}
			c.report(&o.Meta, index("spec.egress", j)+".port", istio.Warning, codeEgressPort,
				fmt.Sprintf("%s listens on port %d itself: %s", who, l.Port, so), "choose another port")
		}
	}
}

// proxyPorts up to proxyPortsEnd are the proxies' own, as in Istio.
const proxyPorts, proxyPortsEnd = 15000, 15100

// onOwnAddress tells whether a listener is at a port of the workload's loopback or of all its addresses.
func onOwnAddress(l *mesh.EgressListener) bool {
	if l == nil || l.Port == 0 {
		return false
	}
	a, err := netip.ParseAddr(l.Bind)
	return l.Bind == "" || err == nil && (a.IsLoopback() || a.IsUnspecified())
}

// listens names a workload under the Sidecar that listens on the port, by the Sidecar's own word or by what a Service sends there; "": none.
func (c *compiler) listens(s *mesh.Sidecar, port uint32) string {
	for _, w := range c.runners() {
		if c.world.SidecarOf(w.Namespace, w.Labels) != s {
			continue
		}
		if len(s.Ingress) > 0 {
			if slices.ContainsFunc(s.Ingress, func(in *mesh.Ingress) bool { return in.Port == port }) {
				return w.kind + " " + w.Namespace + "/" + w.Name
			}
			continue
		}
		for _, svc := range c.world.Services {
			if svc.Namespace == w.Namespace && svc.Selector != nil && mesh.Selects(svc.Selector, w.Labels) &&
				slices.ContainsFunc(svc.Ports, func(p *mesh.Port) bool { return p.On(w.Workload) == port }) {
				return fmt.Sprintf("%s %s/%s (%s)", w.kind, w.Namespace, w.Name, refOf(svc.Origin))
			}
		}
	}
	return ""
}

// runner is a workload by its manifest, whether it runs or not.
type runner struct {
	*mesh.Workload
	kind string
}

// runners are the templates of workloads, and the Pods.
func (c *compiler) runners() []runner {
	var out []runner
	add := func(kind string, m *istio.Meta, labels map[string]string, spec *corev1.PodSpec) {
		out = append(out, runner{&mesh.Workload{Name: m.Name, Namespace: m.Namespace, Labels: labels, Ports: istio.NamedPorts(spec)}, kind})
	}
	for _, o := range c.set.Workloads {
		add(o.Spec.Kind, &o.Meta, o.Spec.Template.Labels, &o.Spec.Template.Spec)
	}
	for _, o := range c.set.Pods {
		add("Pod", &o.Meta, podLabels(o.Labels, o.Spec), &o.Spec.Spec)
	}
	return out
}
