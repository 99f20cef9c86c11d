// Package dynmod runs the policy chain inside a stock Envoy, as a dynamic module. It maps the callbacks of Envoy's Go
// SDK onto filter.Run: one snapshot of the headers per request, one pass through the chain, edits written back.
package dynmod

import (
	"fmt"
	"runtime/debug"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// FilterName is the filter_name by which Envoy's configuration names the chain.
const FilterName = "mizzen"

// Namespace is the namespace of the dynamic metadata that policies write, for access logs:
// %DYNAMIC_METADATA(mizzen:key)%.
const Namespace = "mizzen"

// Factory makes the chain's configurations for Envoy. One Factory serves the process.
type Factory struct {
	kinds []filter.Kind
	env   *filter.Env
}

// NewFactory returns a Factory for a chain of kinds, usually registry.Kinds().
func NewFactory(kinds []filter.Kind) *Factory {
	return &Factory{kinds: kinds, env: registry.NewEnv()}
}

// Create parses a listener's configuration. Its error, or a panic, rejects the configuration; Envoy logs the text.
func (f *Factory) Create(h shared.HttpFilterConfigHandle, raw []byte) (_ shared.HttpFilterFactory, err error) {
	defer recovered(&err)
	p, err := registry.ParseWith(f.kinds, raw, f.env)
	if err != nil {
		return nil, err
	}
	l := &listener{program: p, ledger: newLedger()}
	if err := l.define(h, filter.MetricPanics); err != nil {
		return nil, err
	}
	for _, k := range f.kinds {
		for _, m := range k.Metrics {
			if err := l.define(h, m); err != nil {
				return nil, fmt.Errorf("define metrics of policy %s: %w", k.Name, err)
			}
		}
	}
	return l, nil
}

// CreatePerRoute parses the configuration of a route, virtual host or route table.
func (f *Factory) CreatePerRoute(raw []byte) (_ any, err error) {
	defer recovered(&err)
	p, err := registry.ParseWith(f.kinds, raw, f.env)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// recovered turns a panic in a policy's parser into an error: a bad configuration must not end Envoy.
func recovered(err *error) {
	if e := recover(); e != nil {
		*err = fmt.Errorf("panic: %v\n%s", e, debug.Stack())
	}
}

// listener is one configured instance of the filter in a listener.
type listener struct {
	program *filter.Program
	ledger  *ledger
}

func (l *listener) define(h shared.HttpFilterConfigHandle, m *filter.Metric) error {
	define := h.DefineCounter
	if m.Gauge {
		define = h.DefineGauge
	}
	id, res := define(m.Name, m.Labels...)
	if res != shared.MetricsSuccess {
		return fmt.Errorf("define metric %s: result %d", m.Name, res)
	}
	l.ledger.ids[m] = id
	return nil
}

// Create begins a stream.
func (l *listener) Create(h shared.HttpFilterHandle) shared.HttpFilter {
	s := streams.Get().(*stream)
	s.begin(l, h)
	return s
}

// OnDestroy is called after the last stream; the garbage collector does the rest.
func (l *listener) OnDestroy() {}
