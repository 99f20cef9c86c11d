package host

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// VM is the VM context: one for each worker of Envoy.
type VM struct {
	types.DefaultVMContext
	kinds []filter.Kind
	env   *filter.Env
	refs  map[filter.Outbox]int // how many plugins fill each
}

// NewVM returns the context of a VM that runs a chain of kinds, usually registry.Kinds().
func NewVM(kinds []filter.Kind) *VM {
	v := &VM{kinds: kinds, env: registry.NewEnv(), refs: map[filter.Outbox]int{}}
	v.env.Sends = true
	return v
}

// NewPluginContext begins the context of one configured filter.
func (v *VM) NewPluginContext(id uint32) types.PluginContext {
	p := &plugin{id: id, vm: v, programs: programs{kinds: v.kinds, env: v.env}}
	p.metrics.known = map[series]uint32{}
	p.programs.added = p.refer
	return p
}

// plugin is one configured filter in one VM. A VM runs on one thread: nothing here is locked.
type plugin struct {
	types.DefaultPluginContext
	id       uint32
	vm       *VM
	program  *filter.Program
	programs programs
	metrics  metrics
	waits    waits
	post     post
	ticking  time.Duration // the timer's period, 0: it is off
	free     []*stream
}

// OnPluginStart parses the configuration; Envoy rejects it if the answer is false, and logs the text.
func (p *plugin) OnPluginStart(size int) (ok types.OnPluginStartStatus) {
	defer func() {
		if e := recover(); e != nil {
			proxywasm.LogCriticalf("mizzen: panic in the configuration: %v\n%s", e, debug.Stack())
			ok = types.OnPluginStartStatusFailed
		}
	}()
	var raw []byte
	if size > 0 {
		var err error
		if raw, err = proxywasm.GetPluginConfiguration(); err != nil {
			proxywasm.LogCriticalf("mizzen: read the configuration: %v", err)
			return types.OnPluginStartStatusFailed
		}
	}
	program, err := registry.ParseWith(p.vm.kinds, raw, p.vm.env)
	if err != nil {
		proxywasm.LogCriticalf("mizzen: %v", err)
		return types.OnPluginStartStatusFailed
	}
	p.program = program
	p.refer(program)
	return types.OnPluginStartStatusOK
}

// NewHttpContext begins a stream.
func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	var s *stream
	if n := len(p.free); n > 0 {
		s, p.free = p.free[n-1], p.free[:n-1]
	} else {
		s = &stream{}
	}
	s.begin(p, id)
	return s
}

// OnTick resumes the streams whose Wait is over, and sends what waits in outboxes.
func (p *plugin) OnTick() {
	now := time.Now()
	for {
		w, ok := p.waits.due(now)
		if !ok {
			break
		}
		p.wake(w)
	}
	p.guard(func() { p.serve(now) })
	p.tick()
}

// wake resumes one stream. Its context must be the effective one for what it asks of Envoy.
func (p *plugin) wake(w wait) {
	if w.stream.ended || w.stream.id != w.id {
		return
	}
	if err := proxywasm.SetEffectiveContext(w.id); err != nil {
		return // Envoy has forgotten it
	}
	w.stream.wake()
}

// tickEvery is how exactly Waits are kept: a stream resumes at most so much late, and never early. The timer runs so
// often only while a stream waits.
const tickEvery = 5 * time.Millisecond

// wait lets s be resumed at due.
func (p *plugin) wait(s *stream, due time.Time) {
	p.waits.push(wait{due: due, id: s.id, stream: s})
	p.tick()
}

// tick sets the timer as it is needed now.
func (p *plugin) tick() {
	period := time.Duration(0)
	switch {
	case !p.waits.empty():
		period = tickEvery
	case len(p.post.boxes) > 0:
		period = p.period()
	}
	if period == p.ticking {
		return
	}
	p.ticking = period
	if err := proxywasm.SetTickPeriodMilliSeconds(uint32(period.Milliseconds())); err != nil {
		proxywasm.LogErrorf("mizzen: set the timer: %v", err)
	}
}

// maxFree bounds the stream structs kept for reuse.
const maxFree = 256

func (p *plugin) release(s *stream) {
	if len(p.free) < maxFree {
		p.free = append(p.free, s)
	}
}

// MetricRouteErrors counts requests whose route's configuration could not be read.
var MetricRouteErrors = &filter.Metric{Name: "route_config_errors_total", Help: "Requests whose route carries a configuration that is wrong; the route's configuration was ignored, or the request answered with 500 if the filter fails closed."}

// programs parses routes' configurations and keeps the latest.
type programs struct {
	kinds  []filter.Kind
	env    *filter.Env
	added  func(*filter.Program) // told of each program that is parsed; nil: nobody
	latest map[string]parsed
	order  []string // a ring of the keys in latest, oldest at next
	next   int
}

type parsed struct {
	program *filter.Program
	err     error
}

// maxPrograms bounds the configurations of routes that are kept parsed. The oldest goes first, and is parsed anew when
// it is needed again.
const maxPrograms = 512

// get returns the program of a configuration's text. An error is logged when the text is first seen.
func (c *programs) get(text []byte) (*filter.Program, error) {
	if p, ok := c.latest[string(text)]; ok {
		return p.program, p.err
	}
	key := string(text)
	var p parsed
	p.program, p.err = c.parse(text)
	switch {
	case p.err != nil:
		proxywasm.LogErrorf("mizzen: a route's configuration: %v", p.err)
	case c.added != nil:
		c.added(p.program)
	}
	if c.latest == nil {
		c.latest = map[string]parsed{}
	}
	if len(c.order) < maxPrograms {
		c.order = append(c.order, key)
	} else {
		delete(c.latest, c.order[c.next])
		c.order[c.next] = key
		c.next = (c.next + 1) % maxPrograms
	}
	c.latest[key] = p
	return p.program, p.err
}

func (c *programs) parse(text []byte) (p *filter.Program, err error) {
	defer func() {
		if e := recover(); e != nil {
			p, err = nil, fmt.Errorf("panic: %v", e)
		}
	}()
	return registry.ParseWith(c.kinds, text, c.env)
}
