package compile

import (
	"cmp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	corev1 "k8s.io/api/core/v1"
)

// workloads lowers running Pods and WorkloadEntries. A pod without an address is not running yet.
func (c *compiler) workloads() {
	nodes := c.nodeLocalities()
	for _, o := range c.set.Pods {
		p := o.Spec
		if p.Status.PodIP == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		w := &mesh.Workload{
			Name: o.Name, Namespace: o.Namespace, Address: p.Status.PodIP, Others: otherIPs(p), Labels: podLabels(o.Labels, p),
			ServiceAccount: cmp.Or(p.Spec.ServiceAccountName, "default"),
			Ready:          podReady(p) && p.DeletionTimestamp == nil,
			Draining:       podReady(p) && p.DeletionTimestamp != nil,
			Locality:       cmp.Or(mesh.LocalityOf(podLabels(o.Labels, p)), nodes[p.Spec.NodeName]),
			Origin:         origin(&o.Meta, ""),
		}
		w.Proxy = c.podProxy(o)
		w.Ports = istio.NamedPorts(&p.Spec)
		c.world.Workloads = append(c.world.Workloads, w)
	}
	groups := c.groups()
	for _, o := range c.set.WorkloadEntries {
		e := c.ofGroup(groups, o)
		c.world.Workloads = append(c.world.Workloads, &mesh.Workload{
			Name: o.Name, Namespace: o.Namespace, Address: e.GetAddress(), Labels: e.GetLabels(), Ports: e.GetPorts(),
			ServiceAccount: e.GetServiceAccount(), Ready: true, Entry: true, Locality: e.GetLocality(), Weight: e.GetWeight(),
			Origin: origin(&o.Meta, ""),
		})
	}
	slices.SortStableFunc(c.world.Workloads, compareWorkloads)
}

// otherIPs are a pod's addresses but the first; mostly there are none.
func otherIPs(p *corev1.Pod) []string {
	var out []string
	for _, ip := range p.Status.PodIPs {
		if ip.IP != p.Status.PodIP && ip.IP != "" {
			out = append(out, ip.IP)
		}
	}
	return out
}

// compareWorkloads: of the same name, Pods stand before WorkloadEntries.
func compareWorkloads(a, b *mesh.Workload) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address),
		cmp.Compare(a.Origin.Kind, b.Origin.Kind))
}

// label is one label of a workload in a namespace.
type label struct{ namespace, key, value string }

// indexWorkloads makes selectors quick: most select by a label that few workloads have.
func (c *compiler) indexWorkloads() {
	c.labelled = map[label][]*mesh.Workload{}
	for _, w := range c.world.Workloads {
		for k, v := range w.Labels {
			l := label{w.Namespace, k, v}
			c.labelled[l] = append(c.labelled[l], w)
		}
	}
}

// selected lists the workloads of a namespace that a selector picks, in the World's order. An empty selector picks none.
func (c *compiler) selected(namespace string, selector map[string]string) []*mesh.Workload {
	var fewest []*mesh.Workload
	first := true
	for k, v := range selector {
		if l := c.labelled[label{namespace, k, v}]; first || len(l) < len(fewest) {
			fewest, first = l, false
		}
	}
	var out []*mesh.Workload
	for _, w := range fewest {
		if mesh.Selects(selector, w.Labels) {
			out = append(out, w)
		}
	}
	return out
}

func podLabels(meta map[string]string, p *corev1.Pod) map[string]string {
	if len(p.Labels) > 0 {
		return p.Labels
	}
	return meta
}

func podReady(p *corev1.Pod) bool {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}
