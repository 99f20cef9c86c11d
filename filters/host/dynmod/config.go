package dynmod

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// FilterName is the filter_name by which Envoy's configuration names the chain.
const FilterName = "mizzen"

// Namespace is the namespace of the dynamic metadata that policies write, for access logs:
// %DYNAMIC_METADATA(mizzen:key)%.
const Namespace = "mizzen"

// module is what Envoy's hooks work for: they are C functions without a context. Serve fills it once, before Envoy can
// call any of them.
var module struct {
	kinds []filter.Kind
	env   *filter.Env
	held  held
	post  *postOffice
}

// Serve makes the process serve a chain of kinds, usually registry.Kinds(). The init function of a c-shared main calls
// it, once.
func Serve(kinds []filter.Kind) {
	module.kinds, module.env = kinds, registry.NewEnv()
	module.env.Sends, module.env.Spans, module.env.Resets = true, true, true
	module.post = newPostOffice(envoyPost{})
	module.held.pins = map[unsafe.Pointer]*runtime.Pinner{}
}

// held keeps alive, in place, the values that C refers to.
type held struct {
	mu   sync.Mutex
	pins map[unsafe.Pointer]*runtime.Pinner
}

func (h *held) keep(p unsafe.Pointer) unsafe.Pointer {
	pin := new(runtime.Pinner)
	pin.Pin(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pins[p] = pin
	return p
}

func (h *held) drop(p unsafe.Pointer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if pin := h.pins[p]; pin != nil {
		pin.Unpin()
		delete(h.pins, p)
	}
}

// listener is one configured instance of the filter in a listener.
type listener struct {
	program *filter.Program
	ledger  *ledger
	config  unsafe.Pointer // Envoy's, for calls outside of streams
	desk    unsafe.Pointer // of Envoy's scheduler: where the main thread is asked to make them
}

// define defines a metric and returns its number.
type define func(m *filter.Metric) (id uint64, err error)

// newListener parses a listener's configuration. Its error, or a panic, rejects the configuration.
func newListener(kinds []filter.Kind, env *filter.Env, raw []byte, def define) (_ *listener, err error) {
	defer recovered(&err)
	p, err := registry.ParseWith(kinds, raw, env)
	if err != nil {
		return nil, err
	}
	l := &listener{program: p, ledger: newLedger()}
	metrics := []*filter.Metric{filter.MetricPanics}
	for _, k := range kinds {
		metrics = append(metrics, k.Metrics...)
	}
	for _, m := range metrics {
		if l.ledger.ids[m], err = def(m); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// newRoute parses the configuration of a route, virtual host or route table.
func newRoute(kinds []filter.Kind, env *filter.Env, raw []byte) (_ *filter.Program, err error) {
	defer recovered(&err)
	return registry.ParseWith(kinds, raw, env)
}

// recovered turns a panic in a policy's parser into an error: a bad configuration must not end Envoy.
func recovered(err *error) {
	if e := recover(); e != nil {
		*err = fmt.Errorf("panic: %v\n%s", e, debug.Stack())
	}
}

// idle tells whether a program has no policy at all.
func idle(p *filter.Program) bool {
	for _, policy := range p.Policies {
		if policy != nil {
			return false
		}
	}
	return true
}
