package xdsgen

import (
	"encoding/json"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	wasmhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// wasmHost is the same chain as a proxy-wasm filter. Envoy has no per-route configuration for wasm: it travels as metadata, namespace
// "mizzen". After a reroute Envoy goes on showing the filter the route that the request had before, so what the canary's routes say
// stands at their virtual host, under "config.<token>": see wasm/README.md.
type wasmHost struct{}

// One VM for each worker serves every listener.
func (wasmHost) filters(in listenerInput) ([]*hcmv3.HttpFilter, error) {
	config, err := configAny(registry.Config{Tracing: in.Listener.Tracing})
	if err != nil {
		return nil, err
	}
	f, err := httpFilter(FilterName, &wasmhttpv3.Wasm{Config: &wasmv3.PluginConfig{
		Name: FilterName,
		// A VM that dies is made anew. One that cannot be made has its listener refused, and the proxy then gets the native form.
		FailurePolicy: wasmv3.FailurePolicy_FAIL_RELOAD,
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{
			VmId: FilterName, Runtime: "envoy.wasm.runtime.v8",
			Code: &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
				Specifier: &corev3.DataSource_Filename{Filename: in.Wasm},
			}}},
		}},
		Configuration: config,
	}})
	return []*hcmv3.HttpFilter{f}, err
}

func (wasmHost) virtualHost(out *routev3.VirtualHost, h *mesh.VirtualHost) error {
	texts := map[string]registry.Config{}
	if c, ok := hostConfig(h); ok {
		texts["config"] = c
	}
	for _, r := range h.Routes {
		if c, ok := ownConfig(h, r); ok && r.Choice != "" {
			texts["config."+r.Choice] = c
		}
	}
	return configTexts(&out.Metadata, texts)
}

func (wasmHost) route(out *routev3.Route, h *mesh.VirtualHost, r *mesh.BoundRoute) error {
	c, ok := ownConfig(h, r)
	if !ok || r.Choice != "" {
		return nil
	}
	return configTexts(&out.Metadata, map[string]registry.Config{"config": c})
}

// configTexts writes configurations, as JSON, into metadata.
func configTexts(into **corev3.Metadata, texts map[string]registry.Config) error {
	if len(texts) == 0 {
		return nil
	}
	fields := map[string]*structpb.Value{}
	for key, c := range texts {
		raw, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode filter configuration: %w", err)
		}
		fields[key] = structpb.NewStringValue(string(raw))
	}
	if *into == nil {
		*into = &corev3.Metadata{}
	}
	m := *into
	if m.FilterMetadata == nil {
		m.FilterMetadata = map[string]*structpb.Struct{}
	}
	m.FilterMetadata[FilterName] = &structpb.Struct{Fields: fields}
	return nil
}
