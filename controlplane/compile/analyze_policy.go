package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
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

// template looks through the pod templates of a namespace ("": all).
func (c *compiler) template(namespace string, ok func(labels map[string]string) bool) bool {
	for _, o := range c.set.Workloads {
		if (namespace == "" || o.Namespace == namespace) && ok(o.Spec.Template.Labels) {
			return true
		}
	}
	return false
}

// analyzeSelectors finds selectors that pick nothing, and Sidecars that exclude each other.
func (c *compiler) analyzeSelectors() {
	root := c.world.Settings.RootNamespace
	for _, o := range c.set.Sidecars {
		sel := o.Spec.GetWorkloadSelector().GetLabels()
		c.checkSelector(&o.Meta, "spec.workloadSelector", o.Namespace, sel)
		if len(sel) > 0 {
			continue
		}
		for _, other := range c.set.Sidecars {
			if other == o {
				break
			}
			if other.Namespace == o.Namespace && len(other.Spec.GetWorkloadSelector().GetLabels()) == 0 {
				c.report(&o.Meta, "", istio.Error, codeSidecars,
					fmt.Sprintf("Sidecar %s/%s (%s) is older and stands for the whole namespace: this one has no effect",
						other.Namespace, other.Name, originAt(origin(&other.Meta, ""))), "give one of them a workloadSelector")
				break
			}
		}
	}
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
	if len(sel) == 0 || c.template(namespace, func(have map[string]string) bool { return mesh.Selects(sel, have) }) {
		return
	}
	if namespace != "" && len(c.selected(namespace, sel)) > 0 || namespace == "" && slices.ContainsFunc(c.world.Workloads,
		func(w *mesh.Workload) bool { return mesh.Selects(sel, w.Labels) }) {
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
