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
	done    bool // Request side finished
	dead    [MaxPolicies]bool
	entered [MaxPolicies]Policy
}

// Request runs the request side from where it stopped until a policy wants the host to act or the chain ends (zero
// Verdict). base is the listener's program, route the most specific route's (nil: none): a slot that route fills or
// disables wins. After Reroute the host calls Request again with the new route's program; after Wait or Call it
// calls Resume first.
func (r *Run) Request(base, route *Program) Verdict {
	r.Exchange.run = r
	for r.pos < len(base.Policies) {
		p, closed := pick(base, route, r.pos)
		if r.resumed {
			p = r.entered[r.pos]
		}
		if p == nil {
			r.pos++
			continue
		}
		r.entered[r.pos] = p
		v := r.guard(base, closed, func() Verdict { return p.Request(&r.Exchange) })
		r.resumed, r.Exchange.Answer = false, nil
		if v.Wait > 0 || v.Call != nil {
			return v // stay at this policy
		}
		r.pos++
		if v.Reply != nil || v.Reroute {
			return v
		}
	}
	r.done = true
	return Verdict{}
}

// Resume tells the run that the Wait or Call of its current policy ended; a is nil after a Wait.
func (r *Run) Resume(a *Answer) { r.resumed, r.Exchange.Answer = true, a }

// Response runs the response side in reverse order over the policies whose Request was called.
func (r *Run) Response(base *Program) Verdict {
	r.Exchange.run = r
	r.resumed = false
	for i := len(base.Policies) - 1; i >= 0; i-- {
		p := r.entered[i]
		if p == nil || r.dead[i] {
			continue
		}
		r.pos = i
		v := r.guard(base, false, func() Verdict { return p.Response(&r.Exchange) })
		if v.Reply != nil || v.Wait > 0 {
			return v
		}
	}
	return Verdict{}
}

func pick(base, route *Program, i int) (p Policy, closed bool) {
	if route != nil && (route.Policies[i] != nil || route.Disabled[i]) {
		return route.Policies[i], route.FailClosed || base.FailClosed
	}
	return base.Policies[i], base.FailClosed
}

func (r *Run) guard(base *Program, closed bool, call func() Verdict) (v Verdict) {
	defer func() {
		e := recover()
		if e == nil {
			return
		}
		name := base.Names[r.pos]
		r.dead[r.pos] = true
		r.Exchange.Host.Count(MetricPanics, 1, name)
		r.Exchange.Host.Annotate("panic", fmt.Sprintf("%s: %v", name, e))
		v = Verdict{}
		if closed {
			v.Reply = &Reply{Status: 500, Details: "mizzen_panic", Body: "mizzen: internal error in policy " + name + "\n"}
		}
	}()
	return call()
}
