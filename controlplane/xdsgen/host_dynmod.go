package xdsgen

import (
	"encoding/json"
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dynmodv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/dynamic_modules/v3"
	dynmodhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// FilterName is the name of Mizzen's filter in the chain, of its module (libmizzen.so) and of the filter inside it.
const FilterName = "mizzen"

// module loads libmizzen.so once for the whole process: a Go runtime cannot be unloaded, hence do_not_close. Its
// metrics are called mizzen.NAME.
func module() *dynmodv3.DynamicModuleConfig {
	return &dynmodv3.DynamicModuleConfig{Name: FilterName, DoNotClose: true, MetricsNamespace: FilterName}
}

// configAny packs p as the module reads it: JSON inside a StringValue, which Envoy hands over raw.
func configAny(p registry.Config) (*anypb.Any, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode filter configuration: %w", err)
	}
	return toAny(wrapperspb.String(string(raw)))
}

// moduleHost is the dynamic module. Per-route configuration is Envoy's own.
type moduleHost struct{}

func (moduleHost) filters(in listenerInput) ([]*hcmv3.HttpFilter, error) {
	config, err := configAny(registry.Config{Tracing: in.Listener.Tracing})
	if err != nil {
		return nil, err
	}
	f, err := httpFilter(FilterName, &dynmodhttpv3.DynamicModuleFilter{
		DynamicModuleConfig: module(), FilterName: FilterName, FilterConfig: config,
	})
	return []*hcmv3.HttpFilter{f}, err
}

func (moduleHost) virtualHost(out *routev3.VirtualHost, h *mesh.VirtualHost) error {
	c, ok := hostConfig(h)
	if !ok {
		return nil
	}
	return moduleConfig(&out.TypedPerFilterConfig, c)
}

func (moduleHost) route(out *routev3.Route, h *mesh.VirtualHost, r *mesh.BoundRoute) error {
	c, ok := ownConfig(h, r)
	if !ok {
		return nil
	}
	return moduleConfig(&out.TypedPerFilterConfig, c)
}

// moduleConfig is what a virtual host or route gives the filter. Envoy shows the filter the most specific level only,
// so c must be complete.
func moduleConfig(into *map[string]*anypb.Any, c registry.Config) error {
	text, err := configAny(c)
	if err != nil {
		return err
	}
	config, err := toAny(&dynmodhttpv3.DynamicModuleFilterPerRoute{
		DynamicModuleConfig: module(), FilterName: FilterName, FilterConfig: text,
	})
	if err == nil {
		setConfig(into, FilterName, config)
	}
	return err
}
