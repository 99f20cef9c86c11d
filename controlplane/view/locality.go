package view

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Distances of an endpoint from a client, as Istio counts them.
const (
	samePlace = iota
	sameZone
	sameRegion
	otherRegion
	lastRegion // another one than the failover region
	distances
)

// localityOf is what a proxy's rules may depend on beside its labels: where it is.
func (c *Cache) localityOf(n mesh.Node) string {
	if !c.local {
		return ""
	}
	return cmp.Or(n.Locality, mesh.LocalityOf(n.Labels), c.workload(n).Locality)
}

// usesLocality tells whether a policy looks at where clients are, in one of its parts.
func usesLocality(p *mesh.Policy) bool {
	any := false
	each(p, func(t *mesh.Traffic) {
		any = any || t.Outlier != nil || t.LoadBalancer != nil && t.LoadBalancer.Locality != nil
	})
	return any
}

// comparedLabels are the client's labels that a policy's priorities look at.
func comparedLabels(p *mesh.Policy) []string {
	var out []string
	each(p, func(t *mesh.Traffic) {
		if t.LoadBalancer != nil {
			out = append(out, clientKeys(t.LoadBalancer.Locality)...)
		}
	})
	return out
}

func clientKeys(l *mesh.Locality) []string {
	if l == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(l.Priority), func(k string) bool { return strings.Contains(k, "=") })
}

func each(p *mesh.Policy, do func(*mesh.Traffic)) {
	visit := func(t *mesh.Traffic) {
		if t == nil {
			return
		}
		do(t)
		for _, own := range t.Ports {
			do(own)
		}
	}
	visit(p.Traffic)
	for _, s := range p.Subsets {
		visit(s.Traffic)
	}
}

// preference is what of the locality settings has an effect on a cluster; nil: endpoints are the same for all clients.
func (s *scope) preference(t *mesh.Traffic) *mesh.Locality {
	l := s.cache.world.Settings.Locality
	if t != nil && t.LoadBalancer != nil && t.LoadBalancer.Locality != nil {
		l = t.LoadBalancer.Locality
	}
	switch {
	case l == nil || l.Off:
		return nil
	case len(l.Distribute) > 0 || l.Zones || t != nil && t.Outlier != nil:
		return l
	}
	return nil
}

// near names all of the client that the preference depends on.
func (s *scope) near(l *mesh.Locality) string {
	if l == nil {
		return ""
	}
	id := "at " + s.home
	for _, k := range clientKeys(l) {
		id += "\x00" + s.label(k)
	}
	return id
}

func (s *scope) label(key string) string { return mesh.TopologyLabel(key, s.node.Labels, s.home) }

// places arranges a cluster's endpoints as the client prefers them.
func (s *scope) places(l *mesh.Locality, list []*mesh.Endpoint) []*mesh.Place {
	type key struct {
		locality string
		rank     int
	}
	groups := map[key]*mesh.Place{}
	shares := s.shares(l)
	for _, e := range list {
		k := key{e.Locality, 0}
		if shares == nil {
			k.rank = s.rank(l, e)
		}
		if groups[k] == nil {
			groups[k] = &mesh.Place{Locality: e.Locality}
		}
		groups[k].Endpoints = append(groups[k].Endpoints, e)
	}
	var out []*mesh.Place
	priority, last := uint32(0), -1
	for _, k := range slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.locality, b.locality))
	}) {
		if last >= 0 && k.rank != last {
			priority++
		}
		last = k.rank
		groups[k].Priority = priority
		out = append(out, groups[k])
	}
	if shares != nil {
		return divide(out, shares)
	}
	return out
}

// shares are the client's, of distribute; nil if requests are not distributed for it.
func (s *scope) shares(l *mesh.Locality) []mesh.Share {
	for _, d := range l.Distribute {
		if mesh.LocalityMatches(d.From, s.home) {
			return d.To
		}
	}
	return nil
}

// divide gives each locality its share; one that matches several divides it by the weights of their endpoints. The rest gets nothing.
func divide(places []*mesh.Place, shares []mesh.Share) []*mesh.Place {
	var out []*mesh.Place
	taken := map[*mesh.Place]bool{}
	for _, share := range shares {
		var hit []*mesh.Place
		total := uint64(0)
		for _, p := range places {
			if !taken[p] && mesh.LocalityMatches(share.Pattern, p.Locality) {
				taken[p] = true
				hit = append(hit, p)
				total += weightOf(p)
			}
		}
		for _, p := range hit {
			if share.Percent > 0 {
				p.Weight = uint32(math.Ceil(float64(share.Percent) * float64(weightOf(p)) / float64(total)))
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b *mesh.Place) int { return cmp.Compare(a.Locality, b.Locality) })
	return out
}

func weightOf(p *mesh.Place) (sum uint64) {
	for _, e := range p.Endpoints {
		sum += uint64(max(e.Weight, 1))
	}
	return sum
}

// rank orders endpoints; the smaller, the sooner one is used.
func (s *scope) rank(l *mesh.Locality, e *mesh.Endpoint) int {
	if len(l.Priority) == 0 {
		return s.distance(l, e)
	}
	common := 0
	for _, p := range l.Priority {
		key, want, ok := strings.Cut(p, "=")
		if !ok {
			want = s.label(key)
		}
		if mesh.TopologyLabel(key, e.Labels, e.Locality) != want {
			break
		}
		common++
	}
	rank := (len(l.Priority) - common) * distances
	if l.Zones || len(l.Failover) > 0 {
		rank += s.distance(l, e)
	}
	return rank
}

// distance of an endpoint from the client.
func (s *scope) distance(l *mesh.Locality, e *mesh.Endpoint) int {
	home, there := append(strings.Split(s.home, "/"), "", ""), append(strings.Split(e.Locality, "/"), "", "")
	switch {
	case home[0] != there[0]:
		for _, f := range l.Failover {
			if f.From == home[0] && f.To != there[0] {
				return lastRegion
			} else if f.From == home[0] {
				return otherRegion
			}
		}
		return otherRegion
	case l.Zones:
		return samePlace
	case home[1] != there[1]:
		return sameRegion
	case home[2] != there[2]:
		return sameZone
	}
	return samePlace
}
