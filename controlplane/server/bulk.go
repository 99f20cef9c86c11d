package server

import (
	"slices"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// A proxy's first configuration is sent, acknowledged and asked for by the thousand. What stands here notes that in terms of the set
// that it is from, so that it costs a walk and not a map of thousands of names for each of a thousand proxies.

// take notes that a proxy has set, which is sorted by name and some or all of from.
func (l *ledger) take(set []*xdsgen.Resource, from xdsgen.Set) {
	if 2*len(set) <= from.Len() || l.base == from {
		for _, x := range set {
			l.put(x.Name, held{x.Version, x})
		}
		return
	}
	over := map[string]entry{}
	others(from, set, func(r *xdsgen.Resource) {
		if h, ok := l.get(r.Name); !ok {
			over[r.Name] = entry{absent: true}
		} else if h.res == nil || h.version != r.Version {
			over[r.Name] = entry{held: h}
		}
	})
	l.each(func(name string, h held) bool {
		if from.Find(name) == nil {
			over[name] = entry{held: h}
		}
		return true
	})
	l.base, l.over = from, over
}

// others visits what of from is not in set, which is sorted by name.
func others(from xdsgen.Set, set []*xdsgen.Resource, visit func(*xdsgen.Resource)) {
	if len(set) == from.Len() {
		return
	}
	next := 0 // mostly the next of one is the next of the other
	for r := range from.All() {
		if next < len(set) && set[next] == r {
			next++
			continue
		}
		i, there := slices.BinarySearchFunc(set, r, byNameOf)
		if !there {
			visit(r)
			continue
		}
		next = i + 1
	}
}

// all tells whether the set is just the names of want.
func (n *nameSet) all(want xdsgen.Set) bool { return n.base == want && len(n.over) == 0 }

// adopt adds names, of which most are want's or the other way round.
func (n *nameSet) adopt(names []string, want xdsgen.Set) {
	if len(n.over) > 0 || n.base.Len() > 0 || 2*len(names) <= want.Len() {
		for _, name := range names {
			n.add(name)
		}
		return
	}
	if !slices.IsSorted(names) {
		names = slices.Sorted(slices.Values(names))
	}
	over := map[string]bool{}
	next, known := 0, 0
	for r := range want.All() {
		i, there := next, next < len(names) && names[next] == r.Name
		if !there {
			i, there = slices.BinarySearch(names, r.Name)
		}
		if !there {
			over[r.Name] = false
			continue
		}
		known, next = known+1, i+1
	}
	if known < len(names) {
		for _, name := range names {
			if want.Find(name) == nil {
				over[name] = true
			}
		}
	}
	n.base, n.over = want, over
}

// blank tells that nothing was asked for, sent or acknowledged yet.
func (c *channel) blank() bool {
	return len(c.names.over) == 0 && c.names.base.Len() == 0 && len(c.flight) == 0 && len(c.refused) == 0 && c.sent.empty() && c.acked.empty()
}

// whole tells that the proxy has acknowledged just what it is to have of a kind.
func (s *session) whole(k kind) bool {
	c := s.ch[k]
	return c.acked.base == s.list(k) && len(c.acked.over) == 0 && len(c.refused) == 0
}

// early tells that a proxy has no virtual hosts yet and is still busy with clusters and endpoints, which these wait for: no use to
// look at them one by one. That too ends after the time for an acknowledgement.
func (s *session) early(c *channel, now time.Time) bool {
	if c.kind != hosts || !c.all || !c.sent.empty() {
		return false
	}
	cl, ep := s.ch[clusters], s.ch[endpoints]
	busy := cl.inFlight() > 0 || ep.inFlight() > 0 || s.want.Endpoints.Len() > 0 && ep.blank()
	if !busy || len(cl.refused) > 0 || len(ep.refused) > 0 {
		return false
	}
	if c.gate.IsZero() {
		c.gate = now
	}
	return now.Sub(c.gate) < s.limits.ack
}
