package main

import (
	"fmt"
	"path/filepath"
)

// host is a way to run the chain in Envoy.
type host interface {
	name() string
	// module is the file that envoytest tells Envoy of; "-": none.
	module() string
	// workers is how many threads of Envoy serve.
	workers() int
	// filter is the HTTP filter with the listener's configuration.
	filter(base string) obj
	// levels adds what the virtual host and its routes configure.
	levels(vh obj, g generation)
}

// hosts are all of them; their files stand in the folder build.
func hosts(build string) []host {
	return []host{
		module{"dynamic-module", "mizzen", "mizzen", filepath.Join(build, "libmizzen.so"), false},
		wasm{filepath.Join(build, "mizzen.wasm")},
		module{"golanghost", "golanghost", "mizzen@libmizzen-golang.so", filepath.Join(build, "libgolanghost.so"), true},
	}
}

// module is a dynamic module: our own, or golanghost with the library for contrib's golang filter.
type module struct {
	title, module_, filterName, file string
	// once: the configuration is merged once for each stream, so what a route adds after the canary's choice is not
	// seen (filters/host/golang), and the virtual host configures all.
	once bool
}

func (m module) name() string   { return m.title }
func (m module) module() string { return m.file }
func (m module) workers() int   { return 2 }

func (m module) config(kind, config string) obj {
	return obj{
		"@type":                 typeURL + "envoy.extensions.filters.http.dynamic_modules.v3." + kind,
		"dynamic_module_config": obj{"name": m.module_, "do_not_close": true, "metrics_namespace": "soak"},
		"filter_name":           m.filterName,
		"filter_config":         obj{"@type": typeURL + "google.protobuf.StringValue", "value": config},
	}
}

func (m module) filter(base string) obj {
	return obj{"name": "mizzen", "typed_config": m.config("DynamicModuleFilter", base)}
}

func (m module) levels(vh obj, g generation) {
	give := func(to obj, config string) {
		to["typed_per_filter_config"] = obj{"mizzen": m.config("DynamicModuleFilterPerRoute", "{"+config+"}")}
	}
	if m.once {
		give(vh, g.canary()+","+g.fault())
		return
	}
	give(vh, g.canary())
	for i := range tokens {
		give(vh["routes"].(list)[i].(obj), g.fault())
	}
}

// wasm is Envoy's own wasm filter. Configurations of routes are metadata, those by token for after the canary's choice.
type wasm struct{ file string }

func (wasm) name() string   { return "wasm" }
func (wasm) module() string { return "-" }

// workers: each has a VM that counts for itself, so that with two of them a key could pass twice as often.
func (wasm) workers() int { return 1 }

func (w wasm) filter(base string) obj {
	return obj{"name": "mizzen", "typed_config": obj{
		"@type": typeURL + "envoy.extensions.filters.http.wasm.v3.Wasm",
		"config": obj{
			"name": "soak",
			"vm_config": obj{"vm_id": "mizzen", "runtime": "envoy.wasm.runtime.v8",
				"code": obj{"local": obj{"filename": w.file}}},
			"configuration": obj{"@type": typeURL + "google.protobuf.StringValue", "value": base},
		},
	}}
}

func (wasm) levels(vh obj, g generation) {
	m := obj{"config": fmt.Sprintf("{%s}", g.canary())}
	for _, t := range tokens {
		m["config."+t.token] = fmt.Sprintf("{%s}", g.fault())
	}
	vh["metadata"] = obj{"filter_metadata": obj{"mizzen": m}}
}
