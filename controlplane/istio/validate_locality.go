package istio

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// localities checks localityLbSetting and zoneAwareLbSetting.
func (v *validator) localities(lb *networking.LoadBalancerSettings, path string) {
	l, z := lb.LocalityLbSetting, lb.ZoneAwareLbSetting
	if l != nil && z != nil {
		v.fail(path+".zoneAwareLbSetting", "localityLbSetting and zoneAwareLbSetting exclude each other", "keep one")
	}
	if l != nil {
		v.localitySetting(l, path+".localityLbSetting")
	}
	if z == nil {
		return
	}
	path += ".zoneAwareLbSetting"
	for i, f := range z.Failover {
		v.failover(f.GetFrom(), f.GetTo(), index(path+".failover", i))
	}
	v.priorities(z.FailoverPriority, path+".failoverPriority")
	for i, key := range z.FailoverPriority {
		if name, _, _ := strings.Cut(key, "="); name == "topology.kubernetes.io/region" || name == "topology.kubernetes.io/zone" || name == "topology.istio.io/subzone" {
			v.fail(index(path+".failoverPriority", i), fmt.Sprintf("%s is looked at anyway", name), "take it away")
		}
	}
}

func (v *validator) localitySetting(l *networking.LocalityLoadBalancerSetting, path string) {
	if len(l.Distribute) > 0 && len(l.Failover)+len(l.FailoverPriority) > 0 {
		v.fail(path, "distribute and failover exclude each other", "keep one")
	}
	from := map[string]bool{}
	for i, d := range l.Distribute {
		p := index(path+".distribute", i)
		v.localityPattern(p+".from", d.From)
		if from[d.From] {
			v.fail(p+".from", fmt.Sprintf("%q stands twice", d.From), "keep one")
		}
		from[d.From] = true
		sum := uint64(0)
		for _, to := range sortedKeys(d.To) {
			v.localityPattern(join(p+".to", to), to)
			if d.To[to] == 0 {
				v.fail(join(p+".to", to), "must be more than 0", "take it away: what is not named gets nothing")
			}
			sum += uint64(d.To[to])
		}
		if sum != 100 {
			v.fail(p+".to", fmt.Sprintf("the shares add up to %d, not to 100", sum), "")
		}
	}
	for i, f := range l.Failover {
		v.failover(f.GetFrom(), f.GetTo(), index(path+".failover", i))
	}
	v.priorities(l.FailoverPriority, path+".failoverPriority")
}

// failover checks a pair of regions.
func (v *validator) failover(from, to, path string) {
	for name, region := range map[string]string{".from": from, ".to": to} {
		if v.required(path+name, region) && strings.ContainsAny(region, "/*") {
			v.fail(path+name, fmt.Sprintf("%q is not a region", region), "write the region alone: zones of a region follow each other by themselves")
		}
	}
	if from == to {
		v.fail(path, "fails over to itself", "")
	}
}

func (v *validator) priorities(keys []string, path string) {
	var seen []string
	for i, key := range keys {
		name, value, _ := strings.Cut(key, "=")
		if !labelKey(name) || !labelValue(value) {
			v.fail(index(path, i), fmt.Sprintf("%q is not a label", key), "write KEY or KEY=VALUE")
		}
		if slices.Contains(seen, name) {
			v.fail(index(path, i), fmt.Sprintf("label %s stands twice", name), "keep one")
		}
		seen = append(seen, name)
	}
}

// localityPattern checks REGION/ZONE/SUBZONE, of which the last parts may be missing or "*".
func (v *validator) localityPattern(path, pattern string) {
	parts := strings.Split(pattern, "/")
	if len(parts) > 3 || slices.Contains(parts, "") {
		v.fail(path, fmt.Sprintf("%q is not REGION/ZONE/SUBZONE", pattern), `leave parts out from the end, or write "*" for them`)
		return
	}
	for i, p := range parts {
		if strings.Contains(p, "*") && (p != "*" || i < len(parts)-1) {
			v.fail(path, fmt.Sprintf("%q: only the last part may be '*'", pattern), "")
			return
		}
	}
}
