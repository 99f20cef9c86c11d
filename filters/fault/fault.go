// Package fault delays and aborts requests, and throttles responses, to test how callers bear it. README.md shows it by
// example.
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
	// MetricRates counts responses throttled: their request was told to Envoy's own fault filter.
	MetricRates = &filter.Metric{Name: "fault_response_rates_total", Help: "Responses throttled.", Labels: []string{"rule"}}
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
		Metrics: []*filter.Metric{MetricDelays, MetricAborts, MetricRates, MetricActive, MetricOverflow},
	}
}

// policy is a compiled Config. Immutable but for active, which is shared by all fault policies of the process.
type policy struct {
	rules   []rule
	headers bool
	scrub   bool // the headers that Envoy's own fault filter obeys are ours alone
	max     int64
	active  *atomic.Int64
}

type rule struct {
	name        string
	labels      []string // the name, as metrics want it
	match       *match.Any
	from, until time.Time
	key         *match.CompiledKey // nil: drawn at random
	delay       *delay
	abort       *abort
	rate        *rate
	metadata    []annotation
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

type rate struct {
	percentage filter.Percent
	salt       uint64
	kib        uint64 // 0: by header only
}

// annotation is an entry of the access log's metadata.
type annotation struct{ key, value string }

// annotationKey is the key under which the access log is told what was injected; those of Rule.Metadata stand below it.
const annotationKey = "fault"

// injury is what one exchange suffers.
type injury struct {
	rule    *rule
	delay   time.Duration
	reply   *filter.Reply // nil: no abort
	rate    uint64        // KiB/s; 0: no limit
	after   bool          // the abort comes after the response
	holding bool          // counted in active
}

// Request implements filter.Policy: the delay first, then the abort, or what throttles the response.
func (p *policy) Request(x *filter.Exchange) filter.Verdict {
	if x.Resumed() {
		i, ok := x.State().(*injury)
		if !ok {
			return filter.Verdict{}
		}
		return p.forward(x, i)
	}
	i := p.draw(x)
	if p.scrub {
		x.Request.Remove(ThroughputHeader)
		x.Request.Remove(headerRatePercentage)
	}
	if i == nil {
		x.Done()
		return filter.Verdict{}
	}
	if !p.acquire() {
		x.Host.Count(MetricOverflow, 1)
		x.Done()
		return filter.Verdict{}
	}
	i.holding = true
	x.Host.Count(MetricActive, 1)
	for _, a := range i.rule.metadata {
		x.Host.Annotate(a.key, a.value)
	}
	if i.delay <= 0 {
		return p.forward(x, i)
	}
	x.SetState(i)
	x.Host.Count(MetricDelays, 1, i.rule.labels...)
	x.Host.Flag("DI")
	x.Host.Annotate(annotationKey, i.details(false))
	return filter.Verdict{Wait: i.delay}
}

// draw decides what happens to a request, nil if nothing does.
func (p *policy) draw(x *filter.Exchange) *injury {
	r := p.find(x)
	if r == nil {
		return nil
	}
	wait, reply, rate := p.drawDelay(x, r), p.drawAbort(x, r), p.drawRate(x, r)
	if reply != nil && !r.abort.after {
		rate = 0 // there will be no response of the upstream
	}
	if wait <= 0 && reply == nil && rate == 0 {
		return nil
	}
	return &injury{rule: r, delay: wait, reply: reply, rate: rate, after: reply != nil && r.abort.after}
}

// forward is what comes after the delay: the abort, or a request that goes on.
func (p *policy) forward(x *filter.Exchange, i *injury) filter.Verdict {
	if i.rate > 0 {
		x.Request.Set(ThroughputHeader, strconv.FormatUint(i.rate, 10))
		x.Host.Count(MetricRates, 1, i.rule.labels...)
		x.Host.Annotate(annotationKey, i.details(false))
	}
	if i.after {
		x.Request.All() // a reply on the way back depends on content-type, which not every host can read there any more
	}
	if i.after || i.rate > 0 {
		x.SetState(i) // until the response, or the end
		return filter.Verdict{}
	}
	p.release(x, i)
	x.Done()
	if i.reply == nil {
		return filter.Verdict{}
	}
	return i.strike(x)
}

// Response implements filter.Policy: an answer that an abort after the response takes away.
func (p *policy) Response(x *filter.Exchange) filter.Verdict {
	i, ok := x.State().(*injury)
	if !ok || !i.after {
		return filter.Verdict{}
	}
	i.after = false // our own reply may pass here again
	p.release(x, i)
	return i.strike(x)
}

// End implements filter.Ender: a throttled response is over, or the client has gone away.
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

// drawRate is in KiB/s, 0 for no limit.
func (p *policy) drawRate(x *filter.Exchange, r *rule) uint64 {
	t := r.rate
	if t == nil {
		return 0
	}
	if p.headers {
		if kib, ok := headerRate(x.Request); ok {
			if r.hit(x, headerPercentage(x.Request, headerRatePercentage, t.percentage), t.salt) {
				return kib
			}
			return 0
		}
	}
	if t.kib == 0 || !r.hit(x, t.percentage, t.salt) {
		return 0
	}
	return t.kib
}

// strike aborts.
func (i *injury) strike(x *filter.Exchange) filter.Verdict {
	x.Host.Count(MetricAborts, 1, i.rule.labels...)
	x.Host.Annotate(annotationKey, i.details(true))
	return filter.Verdict{Reply: i.reply}
}

// details is what the access log shows: "checkout: delay 1.5s, rate 64 KiB/s, abort 503".
func (i *injury) details(aborted bool) string {
	s, sep := i.rule.name+":", " "
	if i.delay > 0 {
		s, sep = s+sep+"delay "+i.delay.String(), ", "
	}
	if i.rate > 0 {
		s, sep = s+sep+"rate "+strconv.FormatUint(i.rate, 10)+" KiB/s", ", "
	}
	if !aborted {
		return s
	}
	if i.reply.Reset {
		return s + sep + "abort reset"
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
