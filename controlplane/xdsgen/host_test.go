package xdsgen

import (
	"encoding/json"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	wasmhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// TestWasm: the same chain as a wasm filter, its per-route configuration as metadata, that of the canary's routes at their
// virtual host.
func TestWasm(t *testing.T) {
	v := sidecarView()
	v.Node = v.Node.RunsOn(mesh.HostWasm, "/opt/mizzen.wasm")
	m := manager(t, listener(t, v, "0.0.0.0_9080").FilterChains[0])
	f, text := &wasmhttpv3.Wasm{}, &wrapperspb.StringValue{}
	if err := m.HttpFilters[0].GetTypedConfig().UnmarshalTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Config.Configuration.UnmarshalTo(text); err != nil || !strings.HasPrefix(text.Value, `{"tracing":`) {
		t.Errorf("configuration %q, %v", text.Value, err)
	}
	if got := f.Config.GetVmConfig().Code.GetLocal().GetFilename(); got != "/opt/mizzen.wasm" {
		t.Errorf("code from %q", got)
	}
	if log := string(m.AccessLog[0].GetTypedConfig().Value); !strings.Contains(log, "FILTER_STATE(wasm.mizzen.canary:PLAIN)") || strings.Contains(log, "DYNAMIC_METADATA") {
		t.Errorf("access log %q", log)
	}
	h := unpack(t, named(build(t, v).VirtualHosts, "9080/reviews.default.svc.cluster.local:9080"), &routev3.VirtualHost{})
	at := func(key string) (c registry.Config) {
		text := h.Metadata.FilterMetadata[FilterName].Fields[key].GetStringValue()
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatalf("%s: %v in %q", key, err, text)
		}
		return c
	}
	if c := at("config"); c.Canary == nil || c.RateLimit == nil || c.Fault != nil {
		t.Errorf("the host's: %+v", c)
	}
	if c := at("config.r0.d0"); c.Fault == nil || c.RateLimit == nil || c.Canary != nil {
		t.Errorf("the chosen route's: %+v", c)
	}
	if n := len(h.Metadata.FilterMetadata[FilterName].Fields); n != 2 || len(h.TypedPerFilterConfig) > 0 {
		t.Errorf("%d texts, filter configurations %v", n, h.TypedPerFilterConfig)
	}
	for _, r := range h.Routes {
		if r.Metadata.GetFilterMetadata()[FilterName] != nil || r.Metadata.GetFilterMetadata()["istio"] == nil {
			t.Errorf("route metadata %v", r.Metadata)
		}
	}
	rich := unpack(t, named(build(t, v).VirtualHosts, "9080/rich:9080"), &routev3.VirtualHost{})
	if got := rich.Routes[0].Metadata.FilterMetadata[FilterName].Fields["config"].GetStringValue(); !strings.Contains(got, `"fault"`) {
		t.Errorf("a native route's fault: %q", got)
	}
}

// TestNativeStickiness: weighted clusters follow a hash, unless the endpoints' own hash would be mixed up with it.
func TestNativeStickiness(t *testing.T) {
	r := &mesh.BoundRoute{
		Route:    &mesh.Route{Sticky: &canary.Sticky{Key: match.Key{Header: "x-user"}}},
		Clusters: []*mesh.WeightedCluster{{Cluster: "a", Weight: 90}, {Cluster: "b", Weight: 10}},
	}
	got := oneRoute(t, r).GetRoute()
	if !got.GetWeightedClusters().GetUseHashPolicy().GetValue() || got.HashPolicy[0].GetHeader().GetHeaderName() != "x-user" {
		t.Errorf("got %v", got)
	}
	r.Hash = []*mesh.HashKey{{SourceIP: true}}
	if got := oneRoute(t, r).GetRoute(); got.GetWeightedClusters().GetUseHashPolicy() != nil || len(got.HashPolicy) != 1 {
		t.Errorf("with a hash of the endpoints': %v", got)
	}
}
