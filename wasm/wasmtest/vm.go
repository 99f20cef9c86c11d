package wasmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Options of a VM. The zero value is ready.
type Options struct {
	// Config is the plugin's configuration, VMConfig the VM's.
	Config, VMConfig string
	// Properties are what proxy_get_property answers, by path with "." between its parts. A Stream may have its own.
	Properties map[string]string
	// Clusters are those that HTTP calls may go to; nil: all.
	Clusters []string
	// Foreign are functions for proxy_call_foreign_function. An error answers with an internal failure.
	Foreign map[string]func(arg []byte) ([]byte, error)
	// Shared is the shared data; give the same to several VMs, as Envoy's workers have it. Nil: the VM's own.
	Shared *Shared
	// Start is the time at which the clock begins; zero: 2026-01-01T00:00:00Z.
	Start time.Time
	// Seed of the module's randomness.
	Seed uint64
}

// pluginID is the id of the one plugin context of a VM; streams count up from it.
const pluginID = 1

// VM is a running module with one configured plugin, as a worker of Envoy has it. Not safe for concurrent use.
//
// A VM that traps, as after a panic in the module, is dead: Err tells why, and what is asked of it then does nothing.
type VM struct {
	options Options
	module  api.Module
	malloc  api.Function
	exports map[string]api.Function
	ctx     context.Context
	output  bytes.Buffer
	err     error

	now      time.Time
	started  time.Time
	period   time.Duration
	nextTick time.Time // zero: no timer runs

	lastID    uint32
	streams   map[uint32]*Stream
	effective uint32
	calls     map[uint32]*HTTPCall
	lastCall  uint32
	answering *HTTPCall // whose callback runs
	done      bool      // the plugin is done

	metrics    map[string]int64
	histograms map[string]bool
	names      []string // metric ids are indices into it
	logs       []Log
}

// Log is one line that the module logged.
type Log struct {
	// Level is trace, debug, info, warn, error or critical.
	Level, Message string
}

type vmKey struct{}

// New starts a VM for a test. It fails the test if the VM does not start, and at the test's end if it has died.
func New(t testing.TB, m *Module, o Options) *VM {
	t.Helper()
	v, err := m.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Err(); err != nil {
			t.Errorf("the VM died: %v", err)
		}
		v.Close()
	})
	return v
}

// Start starts a VM and configures its plugin. An error means that Envoy would refuse the configuration; it holds what
// the module logged. The caller closes the VM.
func (m *Module) Start(o Options) (*VM, error) {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.Shared == nil {
		o.Shared = NewShared()
	}
	v := &VM{
		options: o, now: o.Start, started: o.Start, lastID: pluginID, effective: pluginID,
		streams: map[uint32]*Stream{}, calls: map[uint32]*HTTPCall{}, metrics: map[string]int64{}, histograms: map[string]bool{}, exports: map[string]api.Function{},
	}
	v.ctx = context.WithValue(context.Background(), vmKey{}, v)
	seed := rand.NewChaCha8([32]byte{byte(o.Seed), byte(o.Seed >> 8), byte(o.Seed >> 16), byte(o.Seed >> 24)})
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize", "_start").
		WithStdout(&v.output).WithStderr(&v.output).WithRandSource(seed).
		WithWalltime(func() (int64, int32) { return v.now.Unix(), int32(v.now.Nanosecond()) }, 1).
		WithNanotime(func() int64 { return int64(v.now.Sub(v.started)) + 1 }, 1).
		WithNanosleep(func(ns int64) { v.now = v.now.Add(time.Duration(ns)) })
	var err error
	if v.module, err = m.runtime.InstantiateModule(v.ctx, m.compiled, config); err != nil {
		return nil, fmt.Errorf("start the module: %w\n%s", err, v.output.String())
	}
	if err := v.configure(); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

func (v *VM) configure() error {
	if v.malloc = v.module.ExportedFunction("proxy_on_memory_allocate"); v.malloc == nil {
		if v.malloc = v.module.ExportedFunction("malloc"); v.malloc == nil {
			return errors.New("configure the plugin: the module exports neither proxy_on_memory_allocate nor malloc")
		}
	}
	v.call("proxy_on_context_create", pluginID, 0)
	if ok := v.call("proxy_on_vm_start", pluginID, uint64(len(v.options.VMConfig))); v.err == nil && ok == 0 {
		return fmt.Errorf("start the VM: the module refuses\n%s", v.told())
	}
	if ok := v.call("proxy_on_configure", pluginID, uint64(len(v.options.Config))); v.err == nil && ok == 0 {
		return fmt.Errorf("configure the plugin: the module refuses its configuration\n%s", v.told())
	}
	return v.err
}

// Close frees the VM.
func (v *VM) Close() { _ = v.module.Close(v.ctx) }

// Err tells why the VM died, nil while it lives.
func (v *VM) Err() error { return v.err }

// Output is what the module wrote to its standard output and error, for example the trace of a panic.
func (v *VM) Output() string { return v.output.String() }

// Logs are the lines that the module logged.
func (v *VM) Logs() []Log { return v.logs }

// Now is the time of the VM's clock.
func (v *VM) Now() time.Time { return v.now }

// MemorySize is the size of the VM's linear memory in bytes. It never shrinks.
func (v *VM) MemorySize() int { return int(v.module.Memory().Size()) }

// Metric is the value of a counter or gauge, or the sum of a histogram's values; 0 if there is none of that name.
func (v *VM) Metric(name string) int64 { return v.metrics[name] }

// Metrics are all metrics by name.
func (v *VM) Metrics() map[string]int64 { return maps.Clone(v.metrics) }

// Streams is the number of streams that are open.
func (v *VM) Streams() int { return len(v.streams) }

// Advance moves the clock by d, and lets the module's ticks and the timeouts of its HTTP calls happen on the way, each
// at its time.
func (v *VM) Advance(d time.Duration) {
	until := v.now.Add(d)
	for v.err == nil {
		call := v.overdue(until)
		switch {
		case call != nil && (v.nextTick.IsZero() || !v.nextTick.Before(call.due)):
			v.now = call.due
			call.Fail()
		case !v.nextTick.IsZero() && !v.nextTick.After(until):
			v.now = v.nextTick
			v.tick()
		default:
			v.now = until
			return
		}
	}
}

// Ticking tells whether the module's timer runs.
func (v *VM) Ticking() bool { return !v.nextTick.IsZero() }

// EndPlugin tells the plugin that Envoy drops it, and answers whether it is done with that. If it is not, it goes on
// until Done, for example after its HTTP calls were answered.
func (v *VM) EndPlugin() bool {
	if v.call("proxy_on_done", pluginID) != 0 {
		v.done = true
	}
	v.settle()
	return v.Done()
}

// Done tells whether the plugin is done after EndPlugin.
func (v *VM) Done() bool { return v.done }

// tick fires the timer, which then starts again unless the module has stopped it, as Envoy does.
func (v *VM) tick() {
	v.nextTick = time.Time{}
	v.call("proxy_on_tick", pluginID)
	v.settle()
	if v.period > 0 && v.nextTick.IsZero() {
		v.nextTick = v.now.Add(v.period)
	}
}

// call calls one of the module's exports. An export that the module lacks does nothing and answers 1, which is "good"
// wherever an answer is looked at, except in actions.
func (v *VM) call(name string, args ...uint64) uint64 {
	if v.err != nil {
		return 0
	}
	f, ok := v.exports[name]
	if !ok {
		f = v.module.ExportedFunction(name)
		v.exports[name] = f
	}
	if f == nil {
		if name == "proxy_on_vm_start" || name == "proxy_on_configure" || name == "proxy_on_done" {
			return 1
		}
		return 0
	}
	v.effective = uint32(args[0])
	out, err := f.Call(v.ctx, args...)
	if err != nil {
		v.err = fmt.Errorf("call %s: %w\n%s", name, err, v.told())
		return 0
	}
	if len(out) == 0 {
		return 0
	}
	return out[0]
}

// settle does what the module asked for and Envoy does after the call into the module is over.
func (v *VM) settle() {
	for _, id := range slices.Sorted(maps.Keys(v.streams)) {
		if s := v.streams[id]; s != nil {
			s.settle()
		}
	}
}

// told is what the module logged and printed, for error messages.
func (v *VM) told() string {
	var b bytes.Buffer
	for _, l := range v.logs {
		fmt.Fprintf(&b, "%s: %s\n", l.Level, l.Message)
	}
	b.Write(v.output.Bytes())
	return b.String()
}
