package compile

import (
	"fmt"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// destinationRules merges the rules of one host, namespace and audience, as Istio does: the oldest's traffic policy
// stands, subsets add up, a subset of the same name is dropped.
func (c *compiler) destinationRules() {
	type key struct{ namespace, host, audience string }
	merged := map[key]*mesh.Policy{}
	c.policies = map[string][]*mesh.Policy{}
	for _, o := range c.set.DestinationRules {
		host := c.fqdn(o.Spec.GetHost(), o.Namespace)
		if host == "" {
			continue
		}
		export := exportOr(o.Spec.GetExportTo(), c.meshConfig().GetDefaultDestinationRuleExportTo())
		vis, sel := visibility(export, o.Namespace), o.Spec.GetWorkloadSelector().GetMatchLabels()
		k := key{o.Namespace, host, fmt.Sprint(vis, sel)} // fmt prints maps sorted
		p := merged[k]
		if p == nil {
			p = &mesh.Policy{Namespace: o.Namespace, Hostname: host, Visibility: vis, Origin: origin(&o.Meta, "")}
			if len(sel) > 0 {
				p.Selector = sel
			}
			merged[k] = p
			c.world.Policies = append(c.world.Policies, p)
			c.policies[host] = append(c.policies[host], p)
		}
		c.mergeRule(p, o)
	}
}

func (c *compiler) mergeRule(p *mesh.Policy, o *istio.Object[*networking.DestinationRule]) {
	own := traffic(o.Spec.GetTrafficPolicy())
	switch {
	case p.Traffic == nil:
		p.Traffic = own
		for _, s := range p.Subsets {
			s.Traffic = mergeTraffic(own, s.Traffic)
		}
	case own != nil:
		c.report(&o.Meta, "spec.trafficPolicy", istio.Warning, codeSecondPolicy,
			fmt.Sprintf("the traffic policy of the older rule at %s counts for %s, this one does not", originAt(p.Origin), p.Hostname),
			"write one DestinationRule for the host")
	}
	for i, s := range o.Spec.GetSubsets() {
		path := index("spec.subsets", i)
		if have := p.SubsetByName(s.GetName()); have != nil {
			c.report(&o.Meta, path, istio.Warning, codeSecondSubset,
				fmt.Sprintf("subset %s of %s is already defined at %s and counts from there", s.GetName(), p.Hostname, originAt(have.Origin)),
				"remove one of them, or rename it")
			continue
		}
		p.Subsets = append(p.Subsets, &mesh.Subset{
			Name: s.GetName(), Labels: s.GetLabels(),
			Traffic: mergeTraffic(p.Traffic, traffic(s.GetTrafficPolicy())),
			Origin:  origin(&o.Meta, path),
		})
	}
}

// mergeTraffic lays a subset's policy over its host's: block by block; for a port with settings of its own, the subset's
// settings for that port wholesale, else the host's for that port under the subset's blocks.
func mergeTraffic(host, subset *mesh.Traffic) *mesh.Traffic {
	if subset == nil {
		return host
	}
	if host == nil {
		return subset
	}
	out := overlay(host, subset)
	for port := range host.Ports {
		out.Ports = setTraffic(out.Ports, port, overlay(host.Ports[port], subset))
	}
	for port, own := range subset.Ports {
		out.Ports = setTraffic(out.Ports, port, own)
	}
	shareWithPorts(out)
	return out
}

// overlay takes each block from over if it has it; Ports stay nil.
func overlay(base, over *mesh.Traffic) *mesh.Traffic {
	out := *base
	out.Ports = nil
	if over.LoadBalancer != nil {
		out.LoadBalancer = over.LoadBalancer
	}
	if over.Pool != nil {
		out.Pool = over.Pool
	}
	if over.Outlier != nil {
		out.Outlier = over.Outlier
	}
	if over.TLS != nil {
		out.TLS = over.TLS
	}
	if over.RetryBudget != nil {
		out.RetryBudget = over.RetryBudget
	}
	if over.ProxyProtocol != 0 {
		out.ProxyProtocol = over.ProxyProtocol
	}
	if over.Tunnel != nil {
		out.Tunnel = over.Tunnel
	}
	return &out
}

func setTraffic(m map[uint32]*mesh.Traffic, port uint32, t *mesh.Traffic) map[uint32]*mesh.Traffic {
	if m == nil {
		m = map[uint32]*mesh.Traffic{}
	}
	m[port] = t
	return m
}
