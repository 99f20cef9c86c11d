package filter

import "fmt"

// Metrics of the chain itself.
var (
	// MetricPanics counts panics recovered in a policy.
	MetricPanics = &Metric{Name: "panics_total", Help: "Panics recovered in a policy; the request went on, or failed closed if so configured.", Labels: []string{"policy"}}
)

// Program is a parsed chain configuration: a slot per registered Kind, in chain order. Immutable, shared by workers.
type Program struct {
	// Names are the kinds' names, one per slot.
	Names []string
	// Policies holds nil in the slots that the configuration does not name.
	Policies []Policy
	// Disabled marks slots that the configuration sets to null: a route switches off what its listener switched on.
	Disabled []bool
	// FailClosed answers 500 after a panic instead of going on without the policy.
	FailClosed bool
}

// Run is the resumable cursor of one exchange through a chain. Zero value with Exchange filled in is ready.
type Run struct {
	Exchange Exchange

	pos     int
	resumed bool
	back    bool // the response side has begun; pos counts down
	ended   bool
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
	for r.pos < len(base.Policies) {
		p, closed := pick(base, route, r.pos)
		if r.resumed {
			p = r.entered[r.pos]
		}
		if p == nil {
			r.resumed = false
			r.pos++
			continue
		}
		r.entered[r.pos] = p
		v := r.request(p, base, closed)
		r.resumed, r.Exchange.Answer = false, nil
		if v.Reply != nil {
			r.Exchange.told(v.Reply)
		}
		if v.Wait > 0 || v.Call != nil {
			return v // stay at this policy
		}
		r.pos++
		if v.Reply != nil || v.Reroute {
			return v
		}
	}
	return Verdict{}
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

func pick(base, route *Program, i int) (p Policy, closed bool) {
	if route != nil && (route.Policies[i] != nil || route.Disabled[i]) {
		return Inherit(route.Policies[i], base.Policies[i]), route.FailClosed || base.FailClosed
	}
	return base.Policies[i], base.FailClosed
}

// Inherit is what a route's policy becomes over the listener's in the same slot; either may be nil.
func Inherit(route, base Policy) Policy {
	if h, ok := route.(Heir); ok && base != nil {
		return h.Inherit(base)
	}
	return route
}

func (r *Run) request(p Policy, base *Program, closed bool) (v Verdict) {
	defer r.rescue(base, closed, &v)
	return p.Request(&r.Exchange)
}

func (r *Run) response(p Policy, base *Program) (v Verdict) {
	defer r.rescue(base, false, &v)
	return p.Response(&r.Exchange)
}

func (r *Run) end(p Ender, base *Program) {
	var v Verdict
	defer r.rescue(base, false, &v)
	p.End(&r.Exchange)
}

// rescue is deferred around every call into a policy: a panic counts, and the exchange goes on without the policy, or
// is answered with 500 if the program fails closed.
func (r *Run) rescue(base *Program, closed bool, v *Verdict) {
	e := recover()
	if e == nil {
		return
	}
	name := base.Names[r.pos]
	r.dead[r.pos] = true
	r.Exchange.Host.Count(MetricPanics, 1, name)
	r.Exchange.Host.Annotate("panic", fmt.Sprintf("%s: %v", name, e))
	*v = Verdict{}
	if closed {
		v.Reply = &Reply{Status: 500, Details: "mizzen_panic", Body: "mizzen: internal error in policy " + name + "\n"}
	}
}
