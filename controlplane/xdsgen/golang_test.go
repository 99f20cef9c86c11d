package xdsgen

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	golangv3 "github.com/envoyproxy/go-control-plane/contrib/envoy/extensions/filters/http/golang/v3alpha"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dynmodv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/dynamic_modules/v3"
	dynmodhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/golanghost/harness"
)

// TestGolang: the same chain in contrib's golang filter; what holds for a route that the canary chose stands in its metadata.
func TestGolang(t *testing.T) {
	v := sidecarView()
	logged(v)
	v.Node = v.Node.RunsOn(mesh.HostGolang, "/opt/libmizzen-golang.so")
	m := manager(t, listener(t, v, "0.0.0.0_9080").FilterChains[0])
	f := &golangv3.Config{}
	if err := m.HttpFilters[0].GetTypedConfig().UnmarshalTo(f); err != nil {
		t.Fatal(err)
	}
	if f.LibraryId != "mizzen" || f.LibraryPath != "/opt/libmizzen-golang.so" || f.PluginName != "mizzen" || f.MergePolicy != golangv3.Config_MERGE_VIRTUALHOST_ROUTER_FILTER {
		t.Errorf("the filter: %v", f)
	}
	if text := policies(t, f.PluginConfig); text.Tracing == nil || text.Canary != nil {
		t.Errorf("configuration %+v", text)
	}
	if log := string(m.AccessLog[0].GetTypedConfig().Value); !strings.Contains(log, "DYNAMIC_METADATA(mizzen:flags)") || strings.Contains(log, "CUSTOM_FLAGS") {
		t.Errorf("access log %q", log)
	}
	h := unpack(t, named(build(t, v).VirtualHosts, "9080/reviews.default.svc.cluster.local:9080"), &routev3.VirtualHost{})
	if c := perRoute(t, h.TypedPerFilterConfig[FilterName]); c.Canary == nil || c.RateLimit == nil || c.Fault != nil {
		t.Errorf("the host's: %+v", c)
	}
	chosen := 0
	for _, r := range h.Routes {
		if len(r.TypedPerFilterConfig) > 0 || r.Metadata.GetFilterMetadata()["istio"] == nil {
			t.Errorf("route %s: filter configurations %v, metadata %v", r.Name, r.TypedPerFilterConfig, r.Metadata)
		}
		text := r.Metadata.FilterMetadata[FilterName].GetFields()["config"].GetStringValue()
		if text == "" {
			continue
		}
		chosen++
		c := registry.Config{}
		if err := json.Unmarshal([]byte(text), &c); err != nil || c.Fault == nil || c.RateLimit == nil || c.Canary != nil {
			t.Errorf("the chosen route's: %+v, %v", c, err)
		}
	}
	if chosen != 1 {
		t.Errorf("%d routes have a configuration in their metadata, want the one with a fault", chosen)
	}
	rich := unpack(t, named(build(t, v).VirtualHosts, "9080/rich:9080"), &routev3.VirtualHost{})
	if c := perRoute(t, rich.Routes[0].TypedPerFilterConfig[FilterName]); c.Fault == nil || rich.Routes[0].Metadata.FilterMetadata[FilterName] != nil {
		t.Errorf("a native route's: %+v", c)
	}
}

// policies reads what the plugin is given.
func policies(t *testing.T, config *anypb.Any) (c registry.Config) {
	t.Helper()
	text := &wrapperspb.StringValue{}
	if err := config.UnmarshalTo(text); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text.Value), &c); err != nil {
		t.Fatalf("%v in %q", err, text.Value)
	}
	return c
}

func perRoute(t *testing.T, config *anypb.Any) registry.Config {
	t.Helper()
	return policies(t, pluginConfig(t, config))
}

// pluginConfig is what a level of per-route configuration has for the plugin.
func pluginConfig(t *testing.T, config *anypb.Any) *anypb.Any {
	t.Helper()
	c := &golangv3.ConfigsPerRoute{}
	if err := config.UnmarshalTo(c); err != nil {
		t.Fatal(err)
	}
	return c.PluginsConfig[FilterName].GetConfig()
}

// TestGolangTraffic sends requests through what Build makes for the golang filter. The Envoy is a stock one: in place of contrib's filter
// stands golanghost, which gives the same library the same configurations.
func TestGolangTraffic(t *testing.T) {
	module := golangModule(t)
	m := newTraffic(t)
	m.noFlags = "-"
	v := m.view()
	v.Node = v.Node.RunsOn(mesh.HostGolang, "")
	res := build(t, v)
	shim(t, res)
	m.serve(t, v, res, module)
	t.Run("canary", func(t *testing.T) { sub := *m; sub.t = t; checkCanary(t, &sub) })
	t.Run("policies", func(t *testing.T) { sub := *m; sub.t = t; checkPolicies(t, &sub) })
	t.Run("inbound", func(t *testing.T) { sub := *m; sub.t = t; checkInbound(t, &sub) })
	if a := m.get("half", "/"); a.Status != http.StatusOK || a.Echo().Headers["traceparent"] == "" {
		t.Errorf("the listener's configuration: %d %v", a.Status, a.Echo().Headers)
	}
}

// golangModule builds golanghost, and beside it the library.
func golangModule(t *testing.T) string {
	t.Helper()
	envoytest.Find(t)
	envoytest.BuildModule(t, "filters/cmd/golang", "mizzen-golang")
	so, err := harness.Module()
	if err != nil {
		envoytest.Missing(t, err)
	}
	return so
}

// shim puts golanghost in the golang filter's place, everywhere.
func shim(t *testing.T, res *Resources) {
	t.Helper()
	host := &dynmodv3.DynamicModuleConfig{Name: "golanghost", DoNotClose: true, MetricsNamespace: FilterName}
	const plugin = FilterName + "@libmizzen-golang.so"
	for _, r := range res.Listeners {
		l := unpack(t, r, &listenerv3.Listener{})
		for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
			for _, f := range chain.GetFilters() {
				hcm, config := &hcmv3.HttpConnectionManager{}, &golangv3.Config{}
				if f.GetTypedConfig().UnmarshalTo(hcm) != nil {
					continue
				}
				for _, filter := range hcm.HttpFilters {
					if filter.GetTypedConfig().UnmarshalTo(config) == nil {
						filter.ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: mustAny(&dynmodhttpv3.DynamicModuleFilter{
							DynamicModuleConfig: host, FilterName: plugin, FilterConfig: config.PluginConfig,
						})}
					}
				}
				f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(hcm)}
			}
		}
		r.Body = mustAny(l)
	}
	level := func(configs map[string]*anypb.Any) {
		if configs[FilterName] != nil {
			configs[FilterName] = mustAny(&dynmodhttpv3.DynamicModuleFilterPerRoute{
				DynamicModuleConfig: host, FilterName: plugin, FilterConfig: pluginConfig(t, configs[FilterName]),
			})
		}
	}
	virtualHost := func(h *routev3.VirtualHost) {
		level(h.TypedPerFilterConfig)
		for _, r := range h.Routes {
			level(r.TypedPerFilterConfig)
		}
	}
	for _, r := range res.VirtualHosts {
		h := unpack(t, r, &routev3.VirtualHost{})
		virtualHost(h)
		r.Body = mustAny(h)
	}
	for _, r := range res.Routes {
		table := unpack(t, r, &routev3.RouteConfiguration{})
		for _, h := range table.VirtualHosts {
			virtualHost(h)
		}
		r.Body = mustAny(table)
	}
}
