package xdsgen

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// host says how the policies reach a proxy that runs them in one way. Nothing else knows.
type host interface {
	// filters are those that carry out the policies, in their order.
	filters(in listenerInput) ([]*hcmv3.HttpFilter, error)
	// virtualHost and route attach the policies of a virtual host and of one of its routes.
	virtualHost(out *routev3.VirtualHost, h *mesh.VirtualHost) error
	route(out *routev3.Route, h *mesh.VirtualHost, r *mesh.BoundRoute) error
}

func hostOf(h mesh.FilterHost) host {
	switch h {
	case mesh.HostModule:
		return moduleHost{}
	case mesh.HostWasm:
		return wasmHost{}
	case mesh.HostGolang:
		return golangHost{}
	}
	return nativeHost{}
}

// ownConfig is what a route of h says beside its virtual host: nothing for most. Of all levels only the most specific one
// reaches Mizzen's filter, so a route with a fault repeats its host's rate limit. The fallback routes of a host with a canary have
// none: they are what the filter sees before it has chosen, and there the host's canary must be seen.
func ownConfig(h *mesh.VirtualHost, r *mesh.BoundRoute) (c registry.Config, ok bool) {
	if fallback := h.Canary != nil && r.Choice == ""; r.Fault == nil || fallback {
		return c, false
	}
	return registry.Config{Fault: r.Fault, RateLimit: h.RateLimit}, true
}

// hostConfig is what every route of h has that says nothing itself.
func hostConfig(h *mesh.VirtualHost) (c registry.Config, ok bool) {
	c = registry.Config{Canary: h.Canary, RateLimit: h.RateLimit}
	return c, !c.IsZero()
}

func setConfig(configs *map[string]*anypb.Any, filter string, config *anypb.Any) {
	if *configs == nil {
		*configs = map[string]*anypb.Any{}
	}
	(*configs)[filter] = config
}
