package host

import (
	"slices"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// post makes the calls that policies want made outside of exchanges (filter.Outbox), on the plugin's ticks. Each VM, and
// so each worker of Envoy, has outboxes of its own; the plugins of a VM may share them.
type post struct {
	boxes []filter.Outbox // in the order in which they came
	next  time.Time       // when to ask them
	out   int             // calls under way
	over  bool            // Envoy wants the plugin to end
}

// maxCalls bounds the calls made for one outbox at a time.
const maxCalls = 32

// refer notes the outboxes of a program. Those of a route are kept after its configuration has gone: there are as many
// as there are collectors.
func (p *plugin) refer(program *filter.Program) {
	for _, o := range program.Outboxes() {
		if !slices.Contains(p.post.boxes, o) {
			p.post.boxes = append(p.post.boxes, o)
			p.vm.refs[o]++
		}
	}
	p.tick()
}

// serve asks all outboxes if it is time.
func (p *plugin) serve(now time.Time) {
	if len(p.post.boxes) == 0 || now.Before(p.post.next) && p.post.next.Sub(now) < time.Minute {
		return
	}
	p.post.next = now.Add(p.period())
	for _, o := range p.post.boxes {
		p.empty(o)
	}
}

// period is how often to ask.
func (p *plugin) period() time.Duration {
	d := time.Minute
	for _, o := range p.post.boxes {
		d = min(d, o.Period())
	}
	return max(d, tickEvery)
}

// empty makes calls for an outbox until it wants none.
func (p *plugin) empty(o filter.Outbox) {
	for range maxCalls {
		c := o.Next(time.Now(), meter{p})
		if c == nil {
			return
		}
		if a := p.send(o, c); a != nil {
			o.Answered(c, a, time.Now(), meter{p})
		}
	}
}

// send starts a call. nil: it is under way.
func (p *plugin) send(o filter.Outbox, c *filter.Call) *filter.Answer {
	// A stream that was woken in this tick may be the effective context.
	if err := proxywasm.SetEffectiveContext(p.id); err != nil {
		return &filter.Answer{Err: "cannot send: " + err.Error()}
	}
	a := dispatch(c, func(headers, size int) {
		p.post.out--
		p.guard(func() {
			o.Answered(c, answer(headers, size), time.Now(), meter{p})
			p.empty(o)
		})
		if p.post.over && p.post.out == 0 {
			proxywasm.PluginDone()
		}
	})
	if a == nil {
		p.post.out++
	}
	return a
}

// OnPluginDone is called when Envoy drops the plugin: what waits in outboxes that no other plugin fills is sent first.
// False: there are calls under way, and PluginDone follows. Their timeouts bound that.
func (p *plugin) OnPluginDone() bool {
	p.post.over = true
	p.guard(func() {
		for _, o := range p.post.boxes {
			if p.vm.refs[o]--; p.vm.refs[o] == 0 {
				delete(p.vm.refs, o)
				o.Close()
				p.empty(o)
			}
		}
	})
	return p.post.out == 0
}

// guard recovers from a panic in what belongs to no stream: it must not end the VM.
func (p *plugin) guard(fn func()) {
	defer func() {
		if e := recover(); e != nil {
			proxywasm.LogErrorf("mizzen: panic in the module: %v", e)
			p.metrics.count(filter.MetricPanics, 1, []string{"host"})
		}
	}()
	fn()
}

// meter counts on behalf of a plugin.
type meter struct{ p *plugin }

// Count implements filter.Meter.
func (m meter) Count(metric *filter.Metric, n int64, labels ...string) {
	m.p.metrics.count(metric, n, labels)
}
