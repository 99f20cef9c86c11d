package filter

import "fmt"

// Metrics of the chain itself.
var (
	// MetricPanics counts panics recovered in a policy.
	MetricPanics = &Metric{Name: "panics_total", Help: "Panics recovered in a policy, or in the host itself (policy host); the exchange went on, or was answered with 500 if so configured.", Labels: []string{"policy"}}
)

// Program is a parsed chain configuration: a slot per registered Kind, in chain order. Immutable, shared by workers.
type Program struct {
	// Names are the kinds' names, one per slot.
	Names []string
	// Policies holds nil in the slots that the configuration does not name.
	Policies []Policy
	// Disabled marks slots that the configuration sets to null: a route switches off what its listener switched on.
	Disabled []bool
	// FailClosed answers 500 after a panic, in Request or Response, instead of going on without the policy.
	FailClosed bool
}

// Run is the resumable cursor of one exchange through a chain. Zero value with Exchange filled in is ready.
type Run struct {
	Exchange Exchange

	pos     int
	resumed bool
	back    bool // the response side has begun; pos counts down
	ended   bool
	closed  uint8 // bit by slot: the route whose policy entered fails closed
	dead    [MaxPolicies]bool
	entered [MaxPolicies]Policy
	later   []Edit // of the response, from Exchange.SetOnResponse
	text    []byte // that policies have made: see Exchange.Text
}

// Reset makes r ready for another exchange. It keeps its arrays.
func (r *Run) Reset() {
	clear(r.later)
	later, text := r.later[:0], r.text[:0]
	if cap(text) > maxText {
		text = nil
	}
	*r = Run{}
	r.later, r.text = later, text
}

// Request runs the request side from where it stopped until a policy wants the host to act or the chain ends (zero
// Verdict). base is the listener's program, route the most specific route's (nil: none): a slot that route fills or
// disables wins. After Reroute the host calls Request again with the new route's program; after Wait or Call it
// calls Resume first.
//
// Once the response has begun it does nothing: Envoy may answer while a policy waits (a timeout), and the timer still fires.
func (r *Run) Request(base, route *Program) Verdict {
	if r.back || r.ended {
		return Verdict{}
	}
	r.Exchange.run = r
	for {
		if v, whole := r.walk(base, route); whole {
			return v
		}
	}
}

// walk is Request up to the first panic, which leaves the rest undone: whole is false. One guard stands around all
// policies, because each would cost about as much as a small policy does.
func (r *Run) walk(base, route *Program) (v Verdict, whole bool) {
	defer r.rescueWalk(base, route, &v, &whole)
	for r.pos < len(base.Policies) {
		p := r.entered[r.pos]
		if !r.resumed {
			p = pick(base, route, r.pos)
		}
		if p == nil {
			r.resumed = false
			r.pos++
			continue
		}
		if r.entered[r.pos] = p; route != nil && route.FailClosed && overrides(route, r.pos) {
			r.closed |= 1 << r.pos
		}
		if v = p.Request(&r.Exchange); r.asked(&v) {
			return v, true
		}
	}
	return Verdict{}, true
}

// asked goes on to the next policy, unless the one that was asked wants to be asked again; true: the host must act.
func (r *Run) asked(v *Verdict) bool {
	r.resumed, r.Exchange.Answer = false, nil
	if v.Reply != nil {
		r.Exchange.told(v.Reply)
	}
	if v.Wait > 0 || v.Call != nil {
		return true // stay at this policy
	}
	r.pos++
	return v.Reply != nil || v.Reroute
}

// rescueWalk is deferred around the request side: see rescue.
func (r *Run) rescueWalk(base, route *Program, v *Verdict, whole *bool) {
	if e := recover(); e != nil {
		r.left(base, r.failsClosed(base), v, e)
		*whole = r.asked(v)
	}
}

// Resume tells the run that the Wait or Call of its current policy ended; a is nil after a Wait.
func (r *Run) Resume(a *Answer) { r.resumed, r.Exchange.Answer = true, a }

// Response runs the response side in reverse order over the policies whose Request was called, until one wants the
// host to act or all are asked. After a Wait the host calls Resume and then Response again. After a Reply the host
// calls it again too: the policies before the one that replied see the new answer.
func (r *Run) Response(base *Program) Verdict {
	r.Exchange.run = r
	if !r.back {
		r.back, r.resumed, r.pos = true, false, len(base.Policies)-1
	}
	for ; r.pos >= 0; r.pos-- {
		p := r.entered[r.pos]
		if p == nil || r.dead[r.pos] {
			continue
		}
		v := r.response(p, base)
		r.resumed = false
		if v.Wait > 0 {
			return v // stay at this policy
		}
		if v.Reply != nil {
			r.Exchange.told(v.Reply)
			r.pos--
			return v
		}
	}
	for i := range r.later {
		r.Exchange.Response.Set(r.later[i].Name, r.later[i].Value)
	}
	return Verdict{}
}

// Later are the headers that Response sets on behalf of policies when it ends. A host that need not call Response
// (Over) writes them itself.
func (r *Run) Later() []Edit { return r.later }

// Over tells whether no policy wants to see the response or the end: the host need not call Response and End, if it
// writes what Later says.
func (r *Run) Over() bool {
	for i := range r.entered {
		if r.entered[i] != nil {
			return false
		}
	}
	return true
}

// End tells the policies that implement Ender, and whose Request was called, that the exchange is over. The host
// calls it exactly once, whether or not there was a response. Calling it again does nothing.
func (r *Run) End(base *Program) {
	if r.ended {
		return
	}
	r.Exchange.run, r.ended = r, true
	for i := len(base.Policies) - 1; i >= 0; i-- {
		if e, ok := r.entered[i].(Ender); ok {
			r.pos = i
			r.end(e, base)
		}
	}
}

func pick(base, route *Program, i int) Policy {
	if overrides(route, i) {
		return Inherit(route.Policies[i], base.Policies[i])
	}
	return base.Policies[i]
}

// overrides tells whether route fills or disables a slot.
func overrides(route *Program, i int) bool {
	return route != nil && (route.Policies[i] != nil || route.Disabled[i])
}

// Inherit is what a route's policy becomes over the listener's in the same slot; either may be nil.
func Inherit(route, base Policy) Policy {
	if h, ok := route.(Heir); ok && base != nil {
		return h.Inherit(base)
	}
	return route
}

func (r *Run) response(p Policy, base *Program) (v Verdict) {
	defer r.rescue(base, r.failsClosed(base), &v)
	return p.Response(&r.Exchange)
}

func (r *Run) end(p Ender, base *Program) {
	var v Verdict
	defer r.rescue(base, false, &v)
	p.End(&r.Exchange)
}

// failsClosed tells whether a panic in the running policy ends the exchange.
func (r *Run) failsClosed(base *Program) bool { return base.FailClosed || r.closed>>r.pos&1 != 0 }

// rescue is deferred around a call into one policy: a panic counts, and the exchange goes on without the policy, or is
// answered with 500 in place of the response that came.
func (r *Run) rescue(base *Program, closed bool, v *Verdict) {
	if e := recover(); e != nil {
		r.left(base, closed, v, e)
	}
}

// left leaves out the policy that panicked with e; closed: the exchange is answered with 500.
func (r *Run) left(base *Program, closed bool, v *Verdict, e any) {
	name := base.Names[r.pos]
	r.dead[r.pos] = true
	r.Exchange.Host.Count(MetricPanics, 1, name)
	r.Exchange.Host.Annotate("panic", fmt.Sprintf("%s: %v", name, e))
	*v = Verdict{}
	if closed {
		v.Reply = &Reply{Status: 500, Details: "mizzen_panic", Body: "mizzen: internal error in policy " + name + "\n"}
	}
}
