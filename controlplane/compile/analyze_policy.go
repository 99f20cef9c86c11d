package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// analyzeDestinationRules checks that hosts exist and that subsets select something that runs.
func (c *compiler) analyzeDestinationRules() {
	for _, o := range c.set.DestinationRules {
		host := c.fqdn(o.Spec.GetHost(), o.Namespace)
		if mesh.IsWildcard(host) || host == "" {
			continue
		}
		svc := c.lookup(host, o.Namespace)
		if svc == nil {
			c.report(&o.Meta, "spec.host", istio.Warning, codeUnknownTarget,
				fmt.Sprintf("host %s is no service that namespace %s sees: the rule has no effect", host, o.Namespace),
				c.suggestHost(host, o.Namespace))
			continue
		}
		c.analyzeTunnel(o, svc)
		if svc.Resolution != mesh.ResolutionRegistry || !c.running(svc) {
			continue
		}
		for i, s := range o.Spec.GetSubsets() {
			if !c.populated(svc, s.GetLabels()) {
				c.report(&o.Meta, index("spec.subsets", i), istio.Error, codeEmptySubset,
					fmt.Sprintf("subset %s: no pod of %s has the labels %s; a route to it gets 503", s.GetName(), host, labelString(s.GetLabels())),
					"check the labels of the pods")
			}
		}
	}
}

// analyzeTunnel tells of one that requests pass by: only connections go in it.
func (c *compiler) analyzeTunnel(o *istio.Object[*networking.DestinationRule], svc *mesh.Service) {
	if slices.ContainsFunc(svc.Ports, func(p *mesh.Port) bool { return p.Protocol.IsBytes() }) {
		return
	}
	at := func(path string, p *networking.TrafficPolicy) {
		if p.GetTunnel() != nil {
			c.report(&o.Meta, path+".trafficPolicy.tunnel", istio.Warning, codeTunnel,
				fmt.Sprintf("every port of %s is HTTP, and requests are not put in a tunnel", svc.Hostname),
				"declare the port as TCP, and lead connections there by tcp or tls routes")
		}
	}
	at("spec", o.Spec.GetTrafficPolicy())
	for i, s := range o.Spec.GetSubsets() {
		at(index("spec.subsets", i), s.GetTrafficPolicy())
	}
}

// running tells whether anything is known of the service's instances: pods, or templates of pods to be.
func (c *compiler) running(svc *mesh.Service) bool { return c.populated(svc, nil) }

// populated looks for an instance of the service with the labels: an endpoint, or a Deployment's template.
func (c *compiler) populated(svc *mesh.Service, labels map[string]string) bool {
	for _, p := range svc.Ports {
		for _, e := range c.world.Endpoints[mesh.EndpointKey{Hostname: svc.Hostname, Namespace: svc.Namespace, Port: p.Number}] {
			if mesh.Selects(labels, e.Labels) {
				return true
			}
		}
	}
	return svc.Selector != nil && c.template(svc.Namespace, func(have map[string]string) bool {
		return mesh.Selects(svc.Selector, have) && mesh.Selects(labels, have)
	})
}

// template looks through the pod templates of a namespace ("": all), and the Pods: one that is only written down has no address yet,
// and is no workload.
func (c *compiler) template(namespace string, ok func(labels map[string]string) bool) bool {
	for _, o := range c.set.Workloads {
		if (namespace == "" || o.Namespace == namespace) && ok(o.Spec.Template.Labels) {
			return true
		}
	}
	for _, o := range c.set.Pods {
		if (namespace == "" || o.Namespace == namespace) && ok(podLabels(o.Labels, o.Spec)) {
			return true
		}
	}
	return false
}

// analyzeSelectors finds selectors that pick nothing, and Sidecars that exclude each other.
func (c *compiler) analyzeSelectors() {
	root := c.world.Settings.RootNamespace
	for _, o := range c.set.Sidecars {
		c.checkSelector(&o.Meta, "spec.workloadSelector", o.Namespace, o.Spec.GetWorkloadSelector().GetLabels())
	}
	c.analyzeSidecars()
	c.analyzeEgressPorts()
	for _, o := range c.set.DestinationRules {
		c.checkSelector(&o.Meta, "spec.workloadSelector", o.Namespace, o.Spec.GetWorkloadSelector().GetMatchLabels())
	}
	for _, o := range c.set.ServiceEntries {
		c.checkSelector(&o.Meta, "spec.workloadSelector", o.Namespace, o.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, o := range c.set.RateLimits {
		ns := o.Namespace
		if ns == root {
			ns = ""
		}
		if s := o.Spec.Selector; s != nil && !c.selectsGateway(s.MatchLabels) {
			c.checkSelector(&o.Meta, "spec.selector", ns, s.MatchLabels)
		}
	}
}

// analyzeSidecars finds those that an older one leaves without effect, on a namespace or on a workload.
func (c *compiler) analyzeSidecars() {
	for i, s := range c.world.Sidecars {
		m := &c.set.Sidecars[i].Meta
		for _, older := range c.world.Sidecars[:i] {
			if older.Namespace != s.Namespace || (older.Selector == nil) != (s.Selector == nil) {
				continue
			}
			if s.Selector == nil {
				c.report(m, "", istio.Error, codeSidecars,
					fmt.Sprintf("Sidecar %s/%s (%s) is older and stands for the whole namespace: this one has no effect",
						older.Namespace, older.Name, originAt(older.Origin)), "give one of them a workloadSelector")
				break
			}
			if w := c.both(s.Namespace, older.Selector, s.Selector); w != "" {
				c.report(m, "spec.workloadSelector", istio.Error, codeSidecarLabels,
					fmt.Sprintf("Sidecar %s/%s (%s) is older and selects %s too: this one has no effect there",
						older.Namespace, older.Name, originAt(older.Origin), w), "make the selectors disjoint")
				break
			}
		}
	}
}

// both names a workload that two selectors pick, "" if there is none.
func (c *compiler) both(namespace string, a, b map[string]string) string {
	for _, w := range c.selected(namespace, a) {
		if mesh.Selects(b, w.Labels) {
			return "workload " + w.Name
		}
	}
	for _, o := range c.set.Workloads {
		if l := o.Spec.Template.Labels; o.Namespace == namespace && mesh.Selects(a, l) && mesh.Selects(b, l) {
			return o.Spec.Kind + " " + o.Name
		}
	}
	for _, o := range c.set.Pods {
		if l := podLabels(o.Labels, o.Spec); o.Namespace == namespace && mesh.Selects(a, l) && mesh.Selects(b, l) {
			return "Pod " + o.Name
		}
	}
	return ""
}

// selectsGateway: labels by which a Gateway picks its proxies are a gateway's, of which there need be no manifest.
func (c *compiler) selectsGateway(labels map[string]string) bool {
	for _, g := range c.world.Gateways {
		if mesh.Selects(labels, g.Selector) {
			return true
		}
	}
	return false
}

func (c *compiler) checkSelector(m *istio.Meta, path, namespace string, sel map[string]string) {
	if len(sel) == 0 || namespace != "" && len(c.selected(namespace, sel)) > 0 || namespace == "" && slices.ContainsFunc(c.world.Workloads,
		func(w *mesh.Workload) bool { return mesh.Selects(sel, w.Labels) }) {
		return
	}
	if c.template(namespace, func(have map[string]string) bool { return mesh.Selects(sel, have) }) {
		return
	}
	where := "in namespace " + namespace
	if namespace == "" {
		where = "anywhere"
	}
	c.report(m, path, istio.Warning, codeNoWorkload, fmt.Sprintf("no workload %s has the labels %s", where, labelString(sel)), "")
}

func labelString(labels map[string]string) string {
	return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(labels), "map["), "]")
}
