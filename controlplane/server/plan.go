package server

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// deltaWindow is how many responses of one type may be unacknowledged. Envoy delays its acknowledgement of clusters while
// one of them warms; the next change need not wait for that.
const deltaWindow = 4

// next gives what may be sent now, in the order in which it must be.
func (s *session) next(now time.Time) []*response {
	if s.want == nil {
		return nil
	}
	s.expire(now)
	var out []*response
	for _, c := range s.ch {
		if r := s.plan(c, now); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// plan makes the next response of a type; nil if there is nothing to say or it must wait.
func (s *session) plan(c *channel, now time.Time) *response {
	if !c.open || c.settled {
		return nil
	}
	window := 1
	if s.delta {
		window = deltaWindow
	}
	if c.inFlight() >= window {
		c.behind = 1
		return nil
	}
	set, gone, waiting := s.changes(c, now)
	c.behind = waiting
	c.settled = len(c.marked) == 0 && !c.all
	if len(set) == 0 && len(gone) == 0 && (!c.answer || waiting > 0) {
		return nil
	}
	r := &response{kind: c.kind, set: set, from: s.source(c), gone: gone, at: now}
	if !s.fill(c, r) {
		return nil
	}
	r.nonce = s.number()
	c.nonce, c.version, c.answer = r.nonce, r.version, false
	c.flight = append(c.flight, r)
	return r
}

// fill records a response as sent and decides what travels. False: nothing need travel.
func (s *session) fill(c *channel, r *response) bool {
	for _, x := range r.set {
		if c.kind == clusters && c.sent.at(x.Name).version != "" {
			// Envoy warms a changed cluster anew and waits for its endpoints, even if they are as before.
			s.repeatEndpoints(x.Name)
		}
		delete(c.again, x.Name)
		delete(c.since, x.Name)
	}
	c.note(&c.sent, r.set, r.from)
	r.was = make(map[string]held, len(r.gone))
	for _, name := range r.gone {
		delete(c.since, name)
		delete(c.again, name)
		s.withdraw(c, name)
		r.was[name] = c.sent.at(name)
		if c.names.has(name) {
			c.sent.put(name, held{})
		} else {
			c.sent.drop(name)
		}
	}
	c.sent.settle(s.list(c.kind))
	r.body = r.set
	if s.delta {
		return true
	}
	r.version = hashOf(&c.sent)
	if c.kind == clusters || c.kind == listeners {
		r.body = everything(&c.sent)
		return true
	}
	if len(r.set) > 0 || c.answer {
		return true
	}
	// That a named resource is gone cannot be said in this protocol.
	for _, name := range r.gone {
		c.gone(name)
	}
	c.version = r.version
	return false
}

// withdraw forgets at once what others would take for a reason to go: should a removed cluster come back, its routes wait
// until the proxy has it anew, with its endpoints.
func (s *session) withdraw(c *channel, name string) {
	if c.kind != clusters && c.kind != routes {
		return
	}
	c.acked.drop(name)
	c.disown(name)
	if c.kind == clusters {
		s.ch[endpoints].forget(name)
		s.ch[endpoints].mark(name)
	}
}

func (s *session) repeatEndpoints(cluster string) {
	e := s.ch[endpoints]
	if e.wants(cluster) && s.want.Endpoints.Find(cluster) != nil {
		e.again[cluster] = true
		e.mark(cluster)
	}
}

// verdict is what is to be done about one name now.
type verdict int

const (
	nothing verdict = iota
	send            // or withdraw
	hold            // something else must be acknowledged, or time pass, first
)

// changes are what may be sent and withdrawn now; waiting counts the new and changed resources that may not be sent yet.
// Names about which nothing can be said yet stay marked.
func (s *session) changes(c *channel, now time.Time) (set []*xdsgen.Resource, gone []string, waiting int) {
	if s.early(c, now) {
		return nil, nil, 1
	}
	left := map[string]bool{}
	var used map[string]bool
	c.look(s.list(c.kind), func(name string, r *xdsgen.Resource) {
		if r != nil {
			r = c.standing(r)
			switch s.addition(c, r, now) {
			case send:
				set = append(set, r)
			case hold:
				left[name] = true
				waiting++
			}
			return
		}
		if c.kind == clusters && used == nil {
			used = s.used()
		}
		switch s.removal(c, name, used, now) {
		case send:
			gone = append(gone, name)
		case hold:
			left[name] = true
		}
	})
	byName(set)
	for c.kind == extensions && len(set) > 1 { // one at a time: what Envoy says of a bad one need not name it
		left[set[len(set)-1].Name] = true
		set = set[:len(set)-1]
		waiting++
	}
	c.all, c.marked, c.gate = false, left, time.Time{}
	slices.Sort(gone)
	return set, gone, waiting
}

// look visits each marked name, or all that the proxy asked for or has, with the wanted resource of that name or nil.
func (c *channel) look(want xdsgen.Set, visit func(string, *xdsgen.Resource)) {
	if !c.all {
		for name := range c.marked {
			r := want.Find(name)
			if r != nil && !c.wants(name) {
				continue
			}
			visit(name, r)
		}
		return
	}
	if c.wildcard {
		for r := range want.All() {
			visit(r.Name, r)
		}
	}
	if !c.wildcard && c.names.all(want) {
		for r := range want.All() {
			visit(r.Name, r)
		}
	} else {
		c.names.each(func(name string) {
			if r := want.Find(name); r == nil || !c.wildcard {
				visit(name, r)
			}
		})
	}
	var left []string // apart: visiting may change what was sent
	c.sent.each(func(name string, _ held) bool {
		if !c.names.has(name) && want.Find(name) == nil {
			left = append(left, name)
		}
		return true
	})
	for _, name := range left {
		visit(name, nil)
	}
}

// addition decides about a wanted resource.
func (s *session) addition(c *channel, r *xdsgen.Resource, now time.Time) verdict {
	if h, ok := c.sent.get(r.Name); ok && h.version == r.Version && !c.again[r.Name] {
		delete(c.since, r.Name)
		return nothing
	}
	if ref, ok := c.refused[r.Name]; ok && ref.res.Version == r.Version {
		delete(c.since, r.Name)
		return nothing
	}
	if c.kind == hosts && !s.ch[routes].wants(r.Table) {
		return nothing
	}
	if !s.allowed(c, r, now) {
		return hold
	}
	return send
}

// removal decides about a name under which nothing is wanted.
func (s *session) removal(c *channel, name string, used map[string]bool, now time.Time) verdict {
	h, told := c.sent.get(name)
	switch {
	case !told && c.names.has(name):
		return send // asked for, and not there
	case !told || h.version == "":
		return nothing
	case s.removable(c, name, used, now):
		return send
	}
	return hold
}

// allowed tells whether a resource may be sent: the clusters that it names are acknowledged, and a virtual host's table is.
func (s *session) allowed(c *channel, r *xdsgen.Resource, now time.Time) bool {
	if !c.kind.routing() {
		return true
	}
	if c.kind == hosts && !s.ch[routes].has(r.Table) {
		return false
	}
	if s.whole(clusters) && s.whole(endpoints) {
		return true
	}
	ok, hopeless := true, false
	for _, name := range r.Clusters {
		ready, refused := s.ready(name)
		ok = ok && ready
		hopeless = hopeless || refused
	}
	switch {
	case ok:
		return true
	case hopeless:
		// Waits for a better version of the cluster, however long that takes.
		delete(c.since, r.Name)
		return false
	}
	if c.since[r.Name].IsZero() {
		c.since[r.Name] = now
		if !c.gate.IsZero() {
			c.since[r.Name] = c.gate
		}
	}
	if now.Sub(c.since[r.Name]) < s.limits.ack {
		return false
	}
	c.released[r.Name] = true
	return true
}

// ready tells whether a route may name a cluster; refused, that it may not because the proxy rejected it.
func (s *session) ready(cluster string) (ok, refused bool) {
	c := s.ch[clusters]
	w := s.want.Clusters.Find(cluster)
	if w == nil || !c.open || !c.wants(cluster) {
		return true, false
	}
	ref, refused := c.refused[cluster]
	refused = refused && ref.res.Version == w.Version
	if !c.has(cluster) {
		return false, refused
	}
	if c.acked.at(cluster).version != w.Version && !refused {
		return false, false
	}
	if s.want.Endpoints.Find(cluster) == nil {
		return true, false
	}
	_, refused = s.ch[endpoints].refused[cluster]
	return s.ch[endpoints].has(cluster), refused && !s.ch[endpoints].has(cluster)
}

// removable tells whether a resource that is no longer wanted may be withdrawn.
func (s *session) removable(c *channel, name string, used map[string]bool, now time.Time) bool {
	switch c.kind {
	case clusters:
		if used == nil || used["*"] || used[name] {
			delete(c.since, name)
			return false
		}
		if c.since[name].IsZero() {
			c.since[name] = now
		}
		return now.Sub(c.since[name]) >= s.limits.linger
	case endpoints:
		return s.ch[clusters].sent.at(name).version == ""
	case routes:
		return !s.tableUsed(name)
	case extensions:
		return !c.names.has(name) // a listener that discovers it is still there
	case hosts:
		// With its table gone the virtual host still serves the listener that drains.
		h := c.sent.at(name)
		return h.res == nil || s.list(routes).Find(h.res.Table) != nil
	}
	return true
}

// used are the clusters named by anything that the proxy has or is about to have. "*" stands for content that is not known:
// what a reconnected proxy brought along and has not replaced yet.
func (s *session) used() map[string]bool {
	out := map[string]bool{}
	for k := extensions; k < kinds; k++ {
		c := s.ch[k]
		for _, l := range []*ledger{&c.sent, &c.acked} {
			l.each(func(name string, h held) bool {
				if h.res == nil {
					if h.version != "" && !c.orphan(s, name) {
						out["*"] = true
					}
					return true
				}
				for _, cl := range h.res.Clusters {
					out[cl] = true
				}
				return true
			})
		}
		for _, r := range c.flight {
			for _, x := range r.set {
				for _, cl := range x.Clusters {
					out[cl] = out[cl] || !r.overdue
				}
			}
		}
	}
	return out
}

// orphan tells whether a virtual host of unknown content belongs to a table that the proxy does not have.
func (c *channel) orphan(s *session, name string) bool {
	if c.kind != hosts {
		return false
	}
	orphan := true
	s.ch[routes].names.each(func(table string) { orphan = orphan && !hasPrefix(name, table) })
	return orphan
}

func (s *session) tableUsed(table string) bool {
	c := s.ch[listeners]
	used := false
	for _, l := range []*ledger{&c.sent, &c.acked} {
		l.each(func(_ string, h held) bool {
			used = used || h.version != "" && (h.res == nil || slices.Contains(tables(h.res), table))
			return !used
		})
	}
	return used
}

// hashOf is the version of a list: a hash over the names and versions in it.
func hashOf(l *ledger) string {
	sum := sha256.New()
	for _, r := range everything(l) {
		sum.Write([]byte(r.Name + "\x00" + r.Version + "\x00"))
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// everything lists what is there, sorted by name.
func everything(l *ledger) []*xdsgen.Resource {
	var out []*xdsgen.Resource
	l.each(func(_ string, h held) bool {
		if h.res != nil {
			out = append(out, h.res)
		}
		return true
	})
	byName(out)
	return out
}

func byName(rs []*xdsgen.Resource) { slices.SortFunc(rs, byNameOf) }

func byNameOf(a, b *xdsgen.Resource) int { return cmp.Compare(a.Name, b.Name) }
