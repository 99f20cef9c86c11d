package run

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/internal/cost"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// largest is the length of an input that cost.Within is about.
const largest = 8 << 10

// fuzzNodes are a sidecar of each kind and a gateway.
func fuzzNodes() []mesh.Node {
	n := mesh.Node{ID: "x", Name: "reviews-1", Namespace: "default", Domain: "default.svc.cluster.local", IP: "127.1.0.9",
		Labels: map[string]string{"app": "reviews", "istio": "ingressgateway"}, Identity: true, Module: true}
	intercepts, gateway := n, n
	n.HTTPProxyPort, intercepts.Intercepts, intercepts.Module, gateway.Gateway = 15001, true, false, true
	return []mesh.Node{n, intercepts, gateway}
}

// whole takes YAML the whole way. An error of the last step is one of ours: what compiles can be built.
func whole(t *testing.T, nodes []mesh.Node, texts ...string) {
	t.Helper()
	var sets []istio.Set
	for i, text := range texts {
		set, _ := istio.Decode(fmt.Sprintf("%d.yaml", i), strings.NewReader(text))
		sets = append(sets, set)
	}
	set, _ := istio.Merge(sets...)
	w, _ := compile.World(compile.Inputs{Set: set})
	cache := view.NewCache(w)
	for _, n := range nodes {
		if _, err := xdsgen.Build(cache.Of(n)); err != nil {
			t.Errorf("what compiled cannot be built: %v", err)
		}
	}
}

// corpusInputs are the YAML files of the corpus, a case at a time.
func corpusInputs(f *testing.F) [][]string {
	var out [][]string
	for _, c := range golden.Load(f, filepath.Join("..", "testdata", "compile")) {
		var texts []string
		for _, x := range c.Archive.Files {
			if strings.HasSuffix(x.Name, ".yaml") && !strings.HasPrefix(x.Name, "node") && !strings.HasPrefix(x.Name, "view") {
				texts = append(texts, string(x.Data))
			}
		}
		out = append(out, texts)
	}
	return out
}

// FuzzConfiguration: arbitrary YAML, good or bad, beside a mesh in good order, ends in configuration for every kind of proxy.
func FuzzConfiguration(f *testing.F) {
	for _, texts := range corpusInputs(f) {
		f.Add(strings.Join(texts, "\n---\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > largest {
			t.Skip("longer than what the bounds are for")
		}
		cost.Within(t, func() { whole(t, fuzzNodes(), service, text) })
	})
}

// FuzzPatch: any value of an EnvoyFilter's patch, wherever it is applied.
func FuzzPatch(f *testing.F) {
	for _, s := range [][3]string{
		{"CLUSTER", "MERGE", "connect_timeout: 3s"}, {"LISTENER", "MERGE", "name: x"}, {"HTTP_FILTER", "INSERT_FIRST", "{name: a, typed_config: {}}"},
		{"HTTP_ROUTE", "MERGE", "route: {timeout: 1s}"}, {"VIRTUAL_HOST", "ADD", "{name: a, domains: [a]}"}, {"NETWORK_FILTER", "REPLACE", "name: x"},
		{"FILTER_CHAIN", "MERGE_AND_REPLACE_LIST", "filters: []"}, {"EXTENSION_CONFIG", "ADD", "{name: a}"}, {"LISTENER_FILTER", "INSERT_BEFORE", "{name: a}"}, {"ROUTE_CONFIGURATION", "MERGE", "name: x"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, applyTo, operation, value string) {
		if len(value) > largest {
			t.Skip("longer than what the bounds are for")
		}
		patch := fmt.Sprintf("apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: x}\nspec:\n  configPatches:\n  - applyTo: %s\n"+
			"    patch:\n      operation: %s\n      value:\n        %s\n", applyTo, operation, strings.ReplaceAll(value, "\n", "\n        "))
		cost.Within(t, func() { whole(t, fuzzNodes(), service, patch) })
	})
}

// FuzzNode: a first request says whatever it likes of its node.
func FuzzNode(f *testing.F) {
	set, _ := istio.Decode("a.yaml", strings.NewReader(service))
	w, _ := compile.World(compile.Inputs{Set: set})
	for _, id := range []string{"sidecar~127.1.0.9~a.default~default.svc.cluster.local", "router~x~~~", "", "~~~", "a~b~c.d.e~f"} {
		md, err := structpb.NewStruct(map[string]any{"LABELS": map[string]any{"app": "reviews"}, "MIZZEN_PORTS": `{"80": 8080}`, "INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": 15001, "MIZZEN_FILTERS": "wasm"})
		if err != nil {
			f.Fatal(err)
		}
		raw, err := proto.Marshal(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: id, Metadata: md, Locality: &corev3.Locality{Region: "r", SubZone: "s"}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		if raw, err = protojson.Marshal(md); err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte(id+"\n"), raw...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > largest {
			t.Skip("longer than what the bounds are for")
		}
		q := &discoveryv3.DeltaDiscoveryRequest{}
		if id, text, ok := strings.Cut(string(raw), "\n"); ok && strings.HasPrefix(text, "{") {
			md := &structpb.Struct{}
			if protojson.Unmarshal([]byte(text), md) != nil {
				return
			}
			q.Node = &corev3.Node{Id: id, Metadata: md}
		} else if proto.Unmarshal(raw, q) != nil {
			return
		}
		cost.Within(t, func() {
			fleet := NewFleet(nil)
			n := server.ParseNode(q.GetNode())
			for _, delta := range []bool{false, true} {
				if _, err := fleet.Build(w, n, delta); err != nil {
					t.Errorf("%+v: %v", n, err)
				}
			}
			if _, err := fleet.Delta(w, n); err != nil {
				t.Errorf("%+v: %v", n, err)
			}
		})
	})
}
