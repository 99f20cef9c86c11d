package golang

import (
	"fmt"
	"sync"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// ConfigKey is the key of a route's, or virtual host's, metadata of namespace Namespace that holds its configuration as
// JSON text, for requests that get there by a reroute. Contrib merges typed_per_filter_config once for a stream, for the
// route that was selected first, and never tells the plugin of another route's.
const ConfigKey = "config"

// levels are the attributes that hold the configuration after a reroute, the most specific first.
func levels() [2]string {
	const key = "_metadata.filter_metadata." + Namespace + "." + ConfigKey
	return [2]string{"xds.route" + key, "xds.virtual_host" + key}
}

// reroute makes Envoy select a route anew, and lays what its metadata says over the listener's configuration. Without such
// metadata the stream keeps what was merged for its first route. false: the stream was answered meanwhile.
func (s *stream) reroute(worker bool) bool {
	s.cb.RefreshRouteCache()
	for _, key := range levels() {
		text := s.property(key, worker)
		if s.ended || s.respMap != nil {
			return false
		}
		if text == "" {
			continue
		}
		below := s.listener
		if below == nil {
			below = s.program
		}
		p, err := s.parser.routes.get(below, text, s.parser)
		if err != nil {
			s.Annotate("config_error", err.Error())
			return true
		}
		s.program = p
		return true
	}
	return true
}

// property reads an attribute, "" if there is none. Away from the worker the SDK waits for it, and the worker may be
// waiting for s.mu: so s.mu is let go of meanwhile.
func (s *stream) property(key string, worker bool) string {
	if !worker {
		s.mu.Unlock()
		defer s.mu.Lock()
	}
	value, err := s.cb.GetProperty(key)
	if err != nil {
		return ""
	}
	return value
}

// overlays remembers programs by the listener's program and the route's text.
type overlays struct {
	mu  *sync.Mutex
	all map[overlayKey]*overlaid
}

type overlayKey struct {
	below *filter.Program
	text  string
}

type overlaid struct {
	program *filter.Program
	err     error
}

// maxOverlays bounds what is remembered of configurations that may have gone.
const maxOverlays = 1024

func newOverlays() overlays {
	return overlays{mu: &sync.Mutex{}, all: map[overlayKey]*overlaid{}}
}

func (o *overlays) get(below *filter.Program, text string, p *Parser) (*filter.Program, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := overlayKey{below, text}
	known := o.all[k]
	if known == nil {
		if len(o.all) >= maxOverlays {
			clear(o.all)
		}
		known = &overlaid{}
		above, err := registry.ParseWith(p.kinds, []byte(text), p.env)
		if err == nil {
			known.program = overlay(below, above)
		} else {
			known.err = fmt.Errorf("parse mizzen configuration in metadata: %w", err)
			api.LogErrorf("%v", known.err)
		}
		o.all[k] = known
	}
	return known.program, known.err
}
