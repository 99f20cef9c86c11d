package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// locality lowers what a load balancer says about places; nil if it says nothing.
func locality(in *networking.LoadBalancerSettings) *mesh.Locality {
	if l := in.GetLocalityLbSetting(); l != nil {
		return localitySetting(l)
	}
	if z := in.GetZoneAwareLbSetting(); z != nil {
		return zoneSetting(z)
	}
	return nil
}

func zoneSetting(z *networking.ZoneAwareLoadBalancerSetting) *mesh.Locality {
	out := &mesh.Locality{Off: z.Enabled != nil && !z.Enabled.Value, Zones: true, Priority: z.GetFailoverPriority()}
	for _, f := range z.GetFailover() {
		out.Failover = append(out.Failover, mesh.Failover{From: f.GetFrom(), To: f.GetTo()})
	}
	return out
}

func localitySetting(in *networking.LocalityLoadBalancerSetting) *mesh.Locality {
	out := &mesh.Locality{Off: in.Enabled != nil && !in.Enabled.Value, Priority: in.GetFailoverPriority()}
	for _, f := range in.GetFailover() {
		out.Failover = append(out.Failover, mesh.Failover{From: f.GetFrom(), To: f.GetTo()})
	}
	for _, d := range in.GetDistribute() {
		to := mesh.Distribution{From: d.GetFrom()}
		for pattern, percent := range d.GetTo() {
			to.To = append(to.To, mesh.Share{Pattern: pattern, Percent: percent})
		}
		// Of patterns that overlap the narrower one takes first: longer, and with fewer stars.
		slices.SortFunc(to.To, func(a, b mesh.Share) int {
			return cmp.Or(cmp.Compare(specific(b.Pattern), specific(a.Pattern)), cmp.Compare(a.Pattern, b.Pattern))
		})
		out.Distribute = append(out.Distribute, to)
	}
	return out
}

func specific(pattern string) (parts int) {
	for p := range strings.SplitSeq(pattern, "/") {
		if p != "*" && p != "" {
			parts++
		}
	}
	return parts
}

// nodeLocalities finds where the machines are that pods run on, by name.
func (c *compiler) nodeLocalities() map[string]string {
	out := map[string]string{}
	for _, o := range c.set.Nodes {
		out[o.Name] = mesh.LocalityOf(o.Labels)
	}
	return out
}
