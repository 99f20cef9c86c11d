package server

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// held is what a proxy has under one name.
type held struct {
	version string           // "": it was told that there is no such resource
	res     *xdsgen.Resource // nil: absent, or left over from an earlier stream and unlike what is wanted
}

// refusal is a resource version that the proxy rejected.
type refusal struct {
	res  *xdsgen.Resource
	text string // Envoy's message
	bare bool   // the proxy has no earlier version
}

// response is one message to a proxy, and what it changes there.
type response struct {
	kind    kind
	nonce   string
	version string // state of the world: the hash of the list
	set     []*xdsgen.Resource
	gone    []string           // removed, or asked for and not there
	was     map[string]held    // what was sent before under the names that are gone
	from    xdsgen.Set         // what set was taken from
	body    []*xdsgen.Resource // what travels: set, or for a state-of-the-world list all of it
	at      time.Time
	overdue bool            // not acknowledged in time; taken as accepted
	prior   map[string]held // what was acknowledged before that, if anything was
}

// channel is the state of one resource type on one stream.
type channel struct {
	kind     kind
	open     bool // the proxy asked for this type
	wildcard bool
	names    nameSet
	sent     ledger      // last sent under each name
	acked    ledger      // last acknowledged
	flight   []*response // not yet acknowledged, oldest first
	refused  map[string]refusal
	again    map[string]bool      // send even if the version is the same
	since    map[string]time.Time // held back since; a cluster: free to go since
	released map[string]bool      // sent although what it waits for is not acknowledged
	answer   bool                 // the proxy waits for an answer, even an empty one
	gate     time.Time            // of early
	behind   int                  // changes that wait for something
	marked   map[string]bool      // names to look at
	all      bool                 // look at every name
	settled  bool                 // nothing to do until something changes
	unknown  bool                 // some of sent is left over from an earlier stream and not recognised
	nonce    string               // last sent
	version  string               // state of the world: last sent or, after a reconnect, what the proxy said
}

// limits are the times that a session keeps.
type limits struct {
	ack    time.Duration // for an acknowledgement, and for being held back
	linger time.Duration // of a cluster that nothing names any more
}

// session is what one stream knows of its proxy: a state machine without clock, lock or connection. Requests and wanted
// resources go in, responses come out of next.
type session struct {
	delta  bool
	limits limits
	want   *xdsgen.Sets
	ch     [kinds]*channel
	serial uint64
}

func newSession(delta bool, l limits) *session {
	s := &session{delta: delta, limits: l}
	for k := range kinds {
		s.ch[k] = &channel{
			kind: k, refused: map[string]refusal{}, again: map[string]bool{}, since: map[string]time.Time{}, released: map[string]bool{},
			marked: map[string]bool{}, all: true,
		}
	}
	return s
}

// setWant replaces what the proxy is to have.
func (s *session) setWant(r *xdsgen.Sets) {
	old := s.want
	s.want = r
	for k := range kinds {
		c := s.ch[k]
		if old == nil {
			c.markAll()
		} else {
			setOf(old, k).Differences(s.list(k), c.mark)
		}
		c.settled = false
		s.recognise(c)
		c.settle(s.list(k))
		for name, ref := range c.refused {
			if w := s.list(k).Find(name); w == nil || w.Version != ref.res.Version {
				delete(c.refused, name)
			}
		}
	}
}

// mark makes the next plan look at a name.
func (c *channel) mark(name string) {
	if !c.all {
		c.marked[name] = true
	}
	c.settled = false
}

// markAll makes the next plan look at everything.
func (c *channel) markAll() { c.all, c.settled = true, false }

// namesOnly tells that of all types only names were asked for.
func (s *session) namesOnly() bool {
	for _, c := range s.ch {
		if c.open != (c.kind == names) {
			return false
		}
	}
	return true
}

// list is what the proxy is to have of a kind.
func (s *session) list(k kind) xdsgen.Set { return setOf(s.want, k) }

// settle puts what is known of the proxy in terms of what it is to have: mostly it has just that.
func (c *channel) settle(want xdsgen.Set) {
	c.sent.settle(want)
	c.acked.settle(want)
	c.names.settle(want)
}

// recognise finds the content of what a reconnected proxy says it has.
func (s *session) recognise(c *channel) {
	if s.want == nil {
		return
	}
	if c.unknown {
		c.unknown = false
		for _, l := range []*ledger{&c.sent, &c.acked} {
			for name, e := range l.over { // what is of unknown content stands there
				if e.version == "" || e.res != nil {
					continue
				}
				if r := s.list(c.kind).Find(name); r != nil && r.Version == e.version {
					l.put(name, held{e.version, r})
				} else {
					c.unknown = true
				}
			}
			l.settle(s.list(c.kind))
		}
	}
	if !s.delta && c.version != "" && c.sent.empty() {
		s.recogniseList(c)
	}
}

// recogniseList takes the whole wanted list as acknowledged if the version that the proxy named is its hash.
func (s *session) recogniseList(c *channel) {
	var whole ledger
	for r := range s.list(c.kind).All() {
		if c.wants(r.Name) {
			whole.put(r.Name, held{r.Version, r})
		}
	}
	if hashOf(&whole) != c.version {
		return
	}
	whole.each(func(name string, h held) bool {
		c.sent.put(name, h)
		c.acked.put(name, h)
		return true
	})
	c.answer = false
}

// wants tells whether the proxy asked for a name.
func (c *channel) wants(name string) bool { return c.wildcard || c.names.has(name) }

// forget drops all that is known of a name, as if it had never been sent.
func (c *channel) forget(name string) {
	c.sent.drop(name)
	c.acked.drop(name)
	delete(c.refused, name)
	delete(c.again, name)
	delete(c.since, name)
	delete(c.released, name)
	c.disown(name)
}

// disown keeps what is in flight under a name from counting when it is acknowledged: the proxy has dropped it since.
func (c *channel) disown(name string) {
	for _, r := range c.flight {
		if i := slices.IndexFunc(r.set, func(x *xdsgen.Resource) bool { return x.Name == name }); i >= 0 {
			r.set = append(r.set[:i:i], r.set[i+1:]...) // a copy: it may have to be sent yet
		}
		if i := slices.Index(r.gone, name); i >= 0 {
			r.gone = append(r.gone[:i:i], r.gone[i+1:]...)
		}
	}
}

// has tells whether the proxy acknowledged some version of a name.
func (c *channel) has(name string) bool {
	h, ok := c.acked.get(name)
	return ok && h.version != ""
}

// touch makes every channel look again at what it may send.
func (s *session) touch() {
	for _, c := range s.ch {
		c.settled = false
	}
}

// ack takes the acknowledgement of a response. A nonce that is not in flight is stale and ignored.
func (s *session) ack(c *channel, nonce string) bool {
	r := c.land(nonce)
	if r == nil {
		return false
	}
	c.accept(r)
	c.acked.settle(s.list(c.kind))
	if c.kind == extensions {
		s.retryListeners()
	}
	if !s.delta {
		c.flight = nil // a list stands for all lists before it
	}
	s.touch()
	return true
}

// land takes a response out of flight.
func (c *channel) land(nonce string) *response {
	for i, r := range c.flight {
		if r.nonce == nonce {
			c.flight = append(c.flight[:i:i], c.flight[i+1:]...)
			return r
		}
	}
	return nil
}

// accept records that the proxy has what a response carried.
func (c *channel) accept(r *response) {
	set := r.set
	if !c.wildcard && !c.names.all(r.from) {
		set = slices.DeleteFunc(slices.Clone(set), func(x *xdsgen.Resource) bool { return !c.names.has(x.Name) })
	}
	c.note(&c.acked, set, r.from)
	for _, x := range set {
		if ref := c.refused[x.Name]; c.kind != extensions || ref.res == nil || ref.res.Version == x.Version {
			delete(c.refused, x.Name) // of an extension, what stands in its place is no reason to try it again
		}
		delete(c.released, x.Name)
	}
	for _, name := range r.gone {
		c.gone(name)
	}
}

// gone records that the proxy has nothing under a name. Names asked for are remembered as answered.
func (c *channel) gone(name string) {
	if c.names.has(name) {
		c.acked.put(name, held{})
		return
	}
	c.acked.drop(name)
	if h, ok := c.sent.get(name); ok && h.version == "" {
		c.sent.drop(name)
	}
	delete(c.refused, name)
	delete(c.since, name)
}

// nack takes a rejection: the last good versions stay, the guilty ones are not sent again, the rest is.
func (s *session) nack(c *channel, nonce, text string) []refusal {
	r := c.land(nonce)
	if r == nil {
		return nil
	}
	if !s.delta {
		c.flight = nil
	}
	s.touch()
	suspects := r.set
	if s.delta {
		suspects = r.body // with what was disowned: it may be the guilty one
	}
	guilty := blame(suspects, text)
	var out []refusal
	for _, name := range r.gone {
		c.mark(name)
	}
	for _, x := range r.set {
		c.mark(x.Name)
		if r.overdue {
			c.restore(x.Name, r.prior[x.Name])
		}
		if h, ok := c.sent.get(x.Name); ok && h.version == x.Version {
			s.doubt(c, x.Name, held{x.Version, x})
		}
		if guilty[x.Name] {
			ref := refusal{x, text, !c.has(x.Name)}
			out = append(out, ref)
			if w := s.list(c.kind).Find(x.Name); w != nil && w.Version == x.Version {
				c.refused[x.Name] = ref
			}
		}
	}
	for _, name := range r.gone {
		if len(r.body) == 0 || r.was[name].version == "" {
			c.gone(name)
		} else if _, again := c.sent.get(name); !again {
			s.doubt(c, name, r.was[name])
		}
	}
	return out
}

// doubt notes that a proxy may or may not have something: it rejected a response, but Envoy takes the good clusters and
// listeners out of a response that it rejects for others. A version that is never wanted has it sent, or withdrawn, again.
func (s *session) doubt(c *channel, name string, h held) {
	if !s.delta {
		c.restoreSent(name) // the next list settles it
		return
	}
	c.sent.put(name, held{strings.TrimSuffix(h.version, doubtful) + doubtful, h.res})
}

// doubtful ends a version that the proxy may not have.
const doubtful = "?"

// restore brings back what was acknowledged before an overdue response was taken as accepted.
func (c *channel) restore(name string, p held) {
	if p == (held{}) {
		c.acked.drop(name)
		return
	}
	c.acked.put(name, p)
}

// restoreSent makes the last acknowledged version the last sent one.
func (c *channel) restoreSent(name string) {
	if h, ok := c.acked.get(name); ok {
		c.sent.put(name, h)
		return
	}
	c.sent.drop(name)
}

// expire takes responses that stay unacknowledged for too long as accepted, so that one silent type does not block the rest.
func (s *session) expire(now time.Time) {
	for _, c := range s.ch {
		for _, r := range c.flight {
			if r.overdue || now.Sub(r.at) < s.limits.ack {
				continue
			}
			r.overdue, r.prior = true, map[string]held{}
			for _, x := range r.set {
				if h, ok := c.acked.get(x.Name); ok {
					r.prior[x.Name] = h
				}
			}
			c.accept(r)
			s.touch()
		}
		if len(c.flight) > maxOverdue && c.flight[0].overdue {
			c.flight = c.flight[1:]
		}
	}
}

// inFlight counts the responses that block further ones.
func (c *channel) inFlight() int {
	n := 0
	for _, r := range c.flight {
		if !r.overdue {
			n++
		}
	}
	return n
}

// deadline is when next has something to do without an event. ok is false if never.
func (s *session) deadline() (at time.Time, ok bool) {
	earliest := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, c := range s.ch {
		if !c.gate.IsZero() {
			earliest(c.gate.Add(s.limits.ack))
		}
		for _, r := range c.flight {
			if !r.overdue {
				earliest(r.at.Add(s.limits.ack))
			}
		}
		for _, t := range c.since {
			if c.kind == clusters {
				earliest(t.Add(s.limits.linger))
			} else {
				earliest(t.Add(s.limits.ack))
			}
		}
	}
	return at, ok
}

// maxOverdue bounds what is remembered of a proxy that never acknowledges.
const maxOverdue = 16

// number makes the next nonce.
func (s *session) number() string {
	s.serial++
	return strconv.FormatUint(s.serial, 10)
}

// tables are the route tables that a listener names.
func tables(r *xdsgen.Resource) []string {
	if r == nil || r.Table == "" {
		return nil
	}
	return strings.Split(r.Table, ",")
}
