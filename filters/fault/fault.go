// Package fault delays and aborts requests to test how callers bear it. README.md shows it by example.
package fault

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Metrics of the policy.
var (
	// MetricDelays counts delays begun.
	MetricDelays = &filter.Metric{Name: "fault_delays_total", Help: "Delays injected.", Labels: []string{"rule"}}
	// MetricAborts counts requests answered in place of the upstream.
	MetricAborts = &filter.Metric{Name: "fault_aborts_total", Help: "Aborts injected.", Labels: []string{"rule"}}
	// MetricActive is the number of faults in progress.
	MetricActive = &filter.Metric{Name: "fault_active", Help: "Faults in progress.", Gauge: true}
	// MetricOverflow counts faults left out because of Config.MaxActive.
	MetricOverflow = &filter.Metric{Name: "fault_overflow_total", Help: "Faults not injected, because maxActive were in progress."}
)

// Kind describes the policy to the registry.
func Kind() filter.Kind {
	return filter.Kind{
		Name:   "fault",
		Reason: "it impersonates the upstream, so it stands last",
		New: func(raw []byte, env *filter.Env) (filter.Policy, error) {
			c, err := ParseConfig(raw)
			if err != nil {
				return nil, err
			}
			return New(c, env)
		},
		Metrics: []*filter.Metric{MetricDelays, MetricAborts, MetricActive, MetricOverflow},
	}
}

// policy is a compiled Config. Immutable but for active, which is shared by all fault policies of the process.
type policy struct {
	rules   []rule
	headers bool
	max     int64
	active  *atomic.Int64
}

type rule struct {
	name        string
	match       *match.Any
	from, until time.Time
	key         *match.CompiledKey // nil: drawn at random
	delay       *delay
	abort       *abort
}

type delay struct {
	percentage filter.Percent
	salt       uint64
	sample     sampler // nil: by header only
}

type abort struct {
	percentage filter.Percent
	salt       uint64
	reply      *filter.Reply // nil: by header only
	after      bool
}

// injury is what one exchange suffers.
type injury struct {
	rule    string
	delay   time.Duration
	reply   *filter.Reply // nil: no abort
	after   bool
	holding bool // counted in active
}

// Request implements filter.Policy: the delay first, then the abort.
func (p *policy) Request(x *filter.Exchange) filter.Verdict {
	if x.Resumed() {
		i, ok := x.State().(*injury)
		if !ok {
			return filter.Verdict{}
		}
		if i.reply == nil || !i.after {
			p.release(x, i)
		}
		return i.strike(x)
	}
	r := p.find(x)
	if r == nil {
		x.Done()
		return filter.Verdict{}
	}
	wait, reply := p.drawDelay(x, r), p.drawAbort(x, r)
	if wait <= 0 && reply == nil {
		x.Done()
		return filter.Verdict{}
	}
	if !p.acquire() {
		x.Host.Count(MetricOverflow, 1)
		x.Done()
		return filter.Verdict{}
	}
	i := &injury{rule: r.name, delay: wait, reply: reply, after: reply != nil && r.abort.after, holding: true}
	x.Host.Count(MetricActive, 1)
	if wait <= 0 && !i.after {
		p.release(x, i)
		return i.strike(x)
	}
	x.SetState(i)
	if wait <= 0 {
		return filter.Verdict{}
	}
	x.Host.Count(MetricDelays, 1, r.name)
	x.Host.Flag("DI")
	x.Host.Annotate("fault", i.details(false))
	return filter.Verdict{Wait: wait}
}

// Response implements filter.Policy: an answer that an abort after the response takes away.
func (p *policy) Response(x *filter.Exchange) filter.Verdict {
	i, ok := x.State().(*injury)
	if !ok || !i.after || i.reply == nil {
		return filter.Verdict{}
	}
	p.release(x, i)
	i.after = false
	v := i.strike(x)
	i.reply = nil // our own reply may pass here again
	return v
}

// End implements filter.Ender: the client may have gone away during the delay.
func (p *policy) End(x *filter.Exchange) {
	if i, ok := x.State().(*injury); ok {
		p.release(x, i)
	}
}

// find returns the rule that applies, nil if none does.
func (p *policy) find(x *filter.Exchange) *rule {
	for i := range p.rules {
		r := &p.rules[i]
		if x.Now.Before(r.from) || !r.until.IsZero() && !x.Now.Before(r.until) {
			continue
		}
		if r.match.Matches(x.Request) {
			return r
		}
	}
	return nil
}

// hit draws: by key if the rule has one and the request too, else at random.
func (r *rule) hit(x *filter.Exchange, p filter.Percent, salt uint64) bool {
	if r.key != nil {
		if key, ok := r.key.Value(x); ok {
			return match.Hash(salt, key)%uint64(filter.Whole) < uint64(p)
		}
	}
	return p.Hit(x.Rand)
}

func (p *policy) drawDelay(x *filter.Exchange, r *rule) time.Duration {
	d := r.delay
	if d == nil {
		return 0
	}
	if p.headers {
		if wait, ok := headerDelay(x.Request); ok {
			if r.hit(x, headerPercentage(x.Request, headerDelayPercentage, d.percentage), d.salt) {
				return wait
			}
			return 0
		}
	}
	if d.sample == nil || !r.hit(x, d.percentage, d.salt) {
		return 0
	}
	return d.sample(x.Rand)
}

func (p *policy) drawAbort(x *filter.Exchange, r *rule) *filter.Reply {
	a := r.abort
	if a == nil {
		return nil
	}
	if p.headers {
		if reply := headerAbort(x.Request); reply != nil {
			if r.hit(x, headerPercentage(x.Request, headerAbortPercentage, a.percentage), a.salt) {
				return reply
			}
			return nil
		}
	}
	if a.reply == nil || !r.hit(x, a.percentage, a.salt) {
		return nil
	}
	return a.reply
}

// strike aborts, unless there is nothing to abort with, or not yet.
func (i *injury) strike(x *filter.Exchange) filter.Verdict {
	if i.reply == nil || i.after {
		return filter.Verdict{}
	}
	x.Host.Count(MetricAborts, 1, i.rule)
	x.Host.Annotate("fault", i.details(true))
	return filter.Verdict{Reply: i.reply}
}

// details is what the access log shows: "checkout: delay 1.5s, abort 503".
func (i *injury) details(aborted bool) string {
	s, sep := i.rule+":", " "
	if i.delay > 0 {
		s, sep = s+" delay "+i.delay.String(), ", "
	}
	if !aborted {
		return s
	}
	if g := i.reply.GRPCStatus; g != nil {
		return s + sep + "abort grpc " + strconv.Itoa(*g)
	}
	return s + sep + "abort " + strconv.Itoa(i.reply.Status)
}

// acquire takes one of the places for faults in progress.
func (p *policy) acquire() bool {
	n := p.active.Add(1)
	if p.max > 0 && n > p.max {
		p.active.Add(-1)
		return false
	}
	return true
}

func (p *policy) release(x *filter.Exchange, i *injury) {
	if i.holding {
		i.holding = false
		p.active.Add(-1)
		x.Host.Count(MetricActive, -1)
	}
}
