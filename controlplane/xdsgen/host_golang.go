package xdsgen

import (
	golangv3 "github.com/envoyproxy/go-control-plane/contrib/envoy/extensions/filters/http/golang/v3alpha"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// golangHost is the same chain in the golang filter of Envoy's contrib build. Envoy merges the levels of per-route configuration once for a
// stream, for the route that it had before the canary's decision: what a route says that is chosen by one stands in its metadata,
// namespace "mizzen", under "config". See filters/host/golang/README.md.
type golangHost struct{}

func (golangHost) filters(in listenerInput) ([]*hcmv3.HttpFilter, error) {
	config, err := configAny(registry.Config{Tracing: in.Listener.Tracing})
	if err != nil {
		return nil, err
	}
	f, err := httpFilter(FilterName, &golangv3.Config{
		LibraryId: FilterName, LibraryPath: in.Library, PluginName: FilterName, PluginConfig: config,
	})
	return []*hcmv3.HttpFilter{f}, err
}

func (golangHost) virtualHost(out *routev3.VirtualHost, h *mesh.VirtualHost) error {
	c, ok := hostConfig(h)
	if !ok {
		return nil
	}
	return golangConfig(&out.TypedPerFilterConfig, c)
}

func (golangHost) route(out *routev3.Route, h *mesh.VirtualHost, r *mesh.BoundRoute) error {
	c, ok := ownConfig(h, r)
	switch {
	case !ok:
		return nil
	case r.Choice != "":
		return configTexts(&out.Metadata, map[string]registry.Config{"config": c})
	}
	return golangConfig(&out.TypedPerFilterConfig, c)
}

// golangConfig is what a virtual host or route gives the plugin, which lays it over the level above.
func golangConfig(into *map[string]*anypb.Any, c registry.Config) error {
	text, err := configAny(c)
	if err != nil {
		return err
	}
	config, err := toAny(&golangv3.ConfigsPerRoute{PluginsConfig: map[string]*golangv3.RouterPlugin{
		FilterName: {Override: &golangv3.RouterPlugin_Config{Config: text}},
	}})
	if err == nil {
		setConfig(into, FilterName, config)
	}
	return err
}
