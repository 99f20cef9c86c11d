package server

import (
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// event is what a request turned out to be.
type event struct {
	known    bool      // a type that is served
	kind     kind      // valid if known
	first    bool      // opened the type
	fresh    bool      // and the proxy brought nothing from an earlier stream
	acked    bool      // acknowledged a response in flight
	rejected bool      // rejected one
	refused  []refusal // what was rejected
	text     string    // and why
}

// onDelta takes a request of the incremental protocol.
func (s *session) onDelta(q *discoveryv3.DeltaDiscoveryRequest) event {
	k, ok := kindOf(q.GetTypeUrl())
	if !ok {
		return event{}
	}
	c := s.ch[k]
	e := event{known: true, kind: k, first: !c.open}
	if e.first {
		e.fresh = len(q.GetInitialResourceVersions()) == 0
		s.openDelta(c, q)
	} else {
		s.subscribe(c, q.GetResourceNamesSubscribe())
	}
	s.unsubscribe(c, q.GetResourceNamesUnsubscribe())
	if q.GetResponseNonce() == "" {
		return e
	}
	if q.GetErrorDetail() == nil {
		e.acked = s.ack(c, q.GetResponseNonce())
		return e
	}
	e.text = q.GetErrorDetail().GetMessage()
	e.rejected = c.flying(q.GetResponseNonce())
	e.refused = s.nack(c, q.GetResponseNonce(), e.text)
	return e
}

// openDelta takes the first request of a type: what is asked for, and what the proxy has from an earlier stream.
func (s *session) openDelta(c *channel, q *discoveryv3.DeltaDiscoveryRequest) {
	c.open = true
	names := q.GetResourceNamesSubscribe()
	c.wildcard = len(names) == 0 && c.kind.listed()
	c.wildcard = c.wildcard || slices.Contains(names, "*")
	c.names.adopt(slices.DeleteFunc(names, func(name string) bool { return name == "*" }), s.list(c.kind))
	for name, version := range q.GetInitialResourceVersions() {
		if version != "" && c.wants(name) {
			c.sent.put(name, held{version: version})
			c.acked.put(name, held{version: version})
		}
	}
	c.answer = c.sent.empty()
	c.unknown = !c.answer
	c.markAll()
	if c.kind == routes {
		s.ch[hosts].markAll()
	}
	s.recognise(c)
	s.touch()
}

// forgetUnless forgets what was sent under the names that keep does not want.
func (c *channel) forgetUnless(keep func(string) bool) {
	var out []string
	c.sent.each(func(name string, _ held) bool {
		if !keep(name) {
			out = append(out, name)
		}
		return true
	})
	for _, name := range out {
		c.forget(name)
	}
}

// add subscribes to one name.
func (c *channel) add(name string) {
	if name == "*" {
		c.wildcard = true
		return
	}
	c.names.add(name)
}

// subscribe adds names. What is asked for again is sent again: the proxy dropped it, or waits for it.
func (s *session) subscribe(c *channel, names []string) {
	if c.kind == endpoints && c.blank() && !slices.Contains(names, "*") {
		c.names.adopt(names, s.list(c.kind))
		c.markAll()
		s.touch()
		return
	}
	for _, name := range names {
		if name == "*" {
			c.answer = c.answer || !c.wildcard
			c.markAll()
		}
		c.mark(name)
		c.add(name)
		if name == "*" {
			continue
		}
		if c.has(name) || c.sent.at(name).version != "" {
			c.again[name] = true
		} else {
			c.forget(name)
		}
		delete(c.refused, name)
		if c.kind == routes {
			s.dropTable(name)
			c.acked.drop(name)
			c.disown(name)
		}
	}
	if len(names) > 0 {
		c.names.settle(s.list(c.kind))
		s.touch()
	}
}

// unsubscribe drops names. Under a wildcard a dropped name is still of interest, and the protocol wants it said again.
func (s *session) unsubscribe(c *channel, names []string) {
	for _, name := range names {
		if name == "*" {
			c.wildcard = false
			c.forgetUnless(c.names.has)
			continue
		}
		c.names.remove(name)
		c.mark(name)
		if c.wildcard {
			if s.list(c.kind).Find(name) != nil {
				c.again[name] = true
			}
			continue
		}
		c.forget(name)
		if c.kind == routes {
			s.dropTable(name)
		}
	}
	if len(names) > 0 {
		s.touch()
	}
}

// dropTable forgets the virtual hosts of a table that the proxy dropped: if it asks for the table again, its new
// subscription starts empty and must be told all of them.
func (s *session) dropTable(table string) {
	c := s.ch[hosts]
	c.markAll()
	names := map[string]bool{}
	for _, l := range []*ledger{&c.sent, &c.acked} {
		l.each(func(name string, _ held) bool { names[name] = true; return true })
	}
	for _, r := range c.flight {
		for _, x := range r.set {
			names[x.Name] = true
		}
		for _, name := range r.gone {
			names[name] = true
		}
	}
	for name := range names {
		if hasPrefix(name, table) {
			c.forget(name)
		}
	}
}

// hasPrefix tells whether a virtual host's resource name belongs to a table.
func hasPrefix(name, table string) bool {
	return len(name) > len(table) && name[len(table)] == '/' && name[:len(table)] == table
}

// onState takes a request of the state-of-the-world protocol.
func (s *session) onState(q *discoveryv3.DiscoveryRequest) event {
	k, ok := kindOf(q.GetTypeUrl())
	if !ok || k == hosts {
		return event{}
	}
	c := s.ch[k]
	e := event{known: true, kind: k, first: !c.open}
	if !e.first && q.GetResponseNonce() != "" && q.GetResponseNonce() != c.nonce {
		return e
	}
	if e.first {
		e.fresh = q.GetVersionInfo() == ""
		c.open, c.answer, c.version = true, true, q.GetVersionInfo()
	}
	s.resubscribe(c, q.GetResourceNames(), e.first)
	if e.first {
		s.recognise(c)
		s.touch()
		return e
	}
	if q.GetErrorDetail() != nil {
		e.text = q.GetErrorDetail().GetMessage()
		e.rejected = c.flying(q.GetResponseNonce())
		e.refused = s.nack(c, q.GetResponseNonce(), e.text)
		return e
	}
	e.acked = s.ack(c, q.GetResponseNonce())
	return e
}

// flying tells whether a nonce is in flight.
func (c *channel) flying(nonce string) bool {
	for _, r := range c.flight {
		if r.nonce == nonce {
			return true
		}
	}
	return false
}

// resubscribe replaces the names of a state-of-the-world subscription. No names at all mean everything if the proxy never
// named any, and nothing if it did.
func (s *session) resubscribe(c *channel, names []string, first bool) {
	if len(names) == 0 && (first || c.wildcard) {
		c.wildcard = c.kind.listed()
		return
	}
	old, all := c.names, c.wildcard
	c.names, c.wildcard = nameSet{}, false
	for _, name := range names {
		c.add(name)
	}
	if !first && all == c.wildcard && old.equal(&c.names) {
		return
	}
	c.markAll()
	old.each(func(name string) {
		if !c.wants(name) {
			c.forget(name)
		}
	})
	c.forgetUnless(c.wants)
	s.touch()
}
