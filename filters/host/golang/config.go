// Package golang runs the policy chain inside a contrib Envoy (envoyproxy/envoy:contrib-*), as a plugin of
// envoy.filters.http.golang. It maps that filter's Go API onto filter.Run.
package golang

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// PluginName is the plugin_name by which Envoy's configuration names the chain.
const PluginName = "mizzen"

// Namespace is the namespace of the dynamic metadata that policies write, for access logs:
// %DYNAMIC_METADATA(mizzen:key)%.
const Namespace = "mizzen"

// Parser makes the chain's configurations for Envoy (api.StreamFilterConfigParser). One Parser serves the process.
type Parser struct {
	kinds []filter.Kind
	env   *filter.Env
	// last is the ledger of the latest listener configuration: what counts for a route whose merge policy keeps the
	// listener's configuration from it. Counters are global in Envoy, so any ledger tells the same ones.
	last atomic.Pointer[ledger]
	// routes are the programs of routes' metadata (see reroute.go).
	routes overlays
}

// NewParser returns a Parser for a chain of kinds, usually registry.Kinds().
func NewParser(kinds []filter.Kind) *Parser {
	return &Parser{kinds: kinds, env: registry.NewEnv(), routes: newOverlays()}
}

// config is a parsed configuration, of a listener, of a route, or merged. Immutable.
type config struct {
	program *filter.Program
	// listener is the listener's program, below what routes say; nil in the configuration of a route.
	listener *filter.Program
	ledger   *ledger // nil in the configuration of a route
}

// Parse reads the configuration of a listener (callbacks non-nil) or of a route (nil). Its error, or a panic, rejects
// the configuration; Envoy logs the text.
func (p *Parser) Parse(in *anypb.Any, callbacks api.ConfigCallbackHandler) (_ any, err error) {
	defer func() {
		if e := recover(); e != nil { // nothing above us recovers: Envoy would die
			err = fmt.Errorf("panic: %v\n%s", e, debug.Stack())
		}
	}()
	raw, err := document(in)
	if err != nil {
		return nil, fmt.Errorf("parse mizzen configuration: %w", err)
	}
	program, err := registry.ParseWith(p.kinds, raw, p.env)
	if err != nil {
		return nil, err
	}
	c := &config{program: program}
	if callbacks != nil {
		c.listener, c.ledger = program, newLedger(callbacks)
		p.last.Store(c.ledger)
	}
	return c, nil
}

// Merge lays the more specific child over its parent, slot by slot: what child configures or switches off wins. Envoy
// calls it for the listener and the virtual host, then for the result and the route, and keeps what comes out.
func (p *Parser) Merge(parent, child any) any {
	below, ok := parent.(*config)
	if !ok {
		return child
	}
	above, ok := child.(*config)
	if !ok {
		return parent
	}
	merged := &config{program: overlay(below.program, above.program), listener: below.listener, ledger: below.ledger}
	if merged.ledger == nil {
		merged.listener, merged.ledger = above.listener, above.ledger
	}
	return merged
}

// overlay is what filter.Run would choose, slot by slot, from a listener's and a route's program. A slot that above
// switches off stays marked, so that a result can be the upper one of another merge.
func overlay(below, above *filter.Program) *filter.Program {
	n := len(below.Policies)
	p := &filter.Program{
		Names:      below.Names,
		Policies:   make([]filter.Policy, n),
		Disabled:   make([]bool, n),
		FailClosed: below.FailClosed || above.FailClosed,
	}
	for i := range n {
		from := below
		if above.Policies[i] != nil || above.Disabled[i] {
			from = above
		}
		p.Policies[i], p.Disabled[i] = from.Policies[i], from.Disabled[i]
		if from == above {
			p.Policies[i] = filter.Inherit(above.Policies[i], below.Policies[i])
		}
	}
	return p
}

// Factory begins a stream (api.StreamFilterFactory).
func (p *Parser) Factory(parsed any, callbacks api.FilterCallbackHandler) api.StreamFilter {
	c, ok := parsed.(*config)
	if !ok {
		return &api.PassThroughStreamFilter{}
	}
	s := &stream{parser: p, program: c.program, listener: c.listener, ledger: c.ledger, cb: callbacks}
	if s.ledger == nil {
		s.ledger = p.last.Load()
	}
	s.begin()
	return s
}
