package conformance

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// wasm is a stock Envoy with the wasm module. All cases share a VM, as listeners of one Envoy do.
//
// Envoy tries every configuration of a plugin in a VM of its own before it takes it, which costs some CPU. So only
// some cases configure the plugin; the others have an empty one, and their configuration in the virtual host's metadata.
type wasm struct{ file string }

// inPlugin tells whether a case configures the plugin: where a route's configuration meets it, and in some others.
func inPlugin(c *conformance.Case) bool {
	for _, r := range c.Routes {
		if r.Config != nil {
			return true
		}
	}
	return len(c.Title)%16 == 0
}

func newWasm(t testing.TB) wasm {
	t.Helper()
	file := filepath.Join(envoytest.Root(), "build", "mizzen.wasm")
	if err := wasmtest.BuildGo(envoytest.Root(), "./wasm/cmd/mizzen", file); err != nil {
		t.Fatal(err)
	}
	return wasm{file}
}

func (wasm) name() string                       { return "wasm" }
func (wasm) refuses(c *conformance.Case) string { return wasmRefuses(c) }
func (wasm) module(testing.TB) string           { return "-" }
func (wasm) stat(string, string) string         { return "" }

// sees: counters of all cases are one.
func (wasm) sees(a conformance.Aspect) bool {
	return a != conformance.SeesCounters && a != conformance.SeesTime
}

func (w wasm) flags(l logLine) []string { return split(w.annotations(l)["flags"]) }

func (wasm) annotations(l logLine) map[string]string {
	out := map[string]string{}
	for k, v := range l.State {
		if v != nil && *v != "-" {
			out[k] = *v
		}
	}
	return out
}

func (w wasm) filters(c *conformance.Case, id string) list {
	config := []byte("{}")
	if inPlugin(c) {
		config = c.Config
	} else {
		id = "all"
	}
	return list{obj{"name": "mizzen", "typed_config": obj{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
		"config": obj{
			"name": id,
			"vm_config": obj{"vm_id": "mizzen", "runtime": "envoy.wasm.runtime.v8",
				"code": obj{"local": obj{"filename": w.file}}},
			"configuration": obj{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": string(config)},
		},
	}}}
}

// routes: a route's own level is in its metadata. Envoy goes on telling the filter that of the route that it selected
// first, so what holds after canary's choice stands in all of them, by token.
func (wasm) routes(c *conformance.Case, _ string) list {
	level := func(config []byte) string { return string(config) }
	if !inPlugin(c) {
		level = func(config []byte) string { return overlaid(c.Config, config) }
	}
	all := routes(c, func(route obj, config []byte) { metadata(route)["config"] = level(config) })
	for _, route := range all {
		m := metadata(route.(obj))
		for _, r := range c.Routes {
			if r.Token != "" && r.Config != nil {
				m["config."+r.Token] = level(r.Config)
			}
		}
		if m["config"] == nil && !inPlugin(c) {
			m["config"] = level(nil)
		}
	}
	return all
}

// overlaid lays a route's configuration over the listener's, policy by policy.
func overlaid(below, above []byte) string {
	all := map[string]json.RawMessage{}
	for _, raw := range [][]byte{below, above} {
		if raw == nil {
			continue
		}
		if err := json.Unmarshal(raw, &all); err != nil {
			panic(err) // the corpus holds objects
		}
	}
	out, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// metadata is a route's metadata in our namespace.
func metadata(route obj) obj {
	if m, ok := route["metadata"].(obj); ok {
		return m["filter_metadata"].(obj)["mizzen"].(obj)
	}
	m := obj{}
	route["metadata"] = obj{"filter_metadata": obj{"mizzen": m}}
	return m
}
