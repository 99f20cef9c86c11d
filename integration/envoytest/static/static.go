// Package static writes bootstraps of Envoy as Go values, for tests that are about one filter.
package static

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Obj and List write Envoy's configuration as the JSON that it is.
type (
	Obj  = map[string]any
	List = []any
)

const (
	extension = "type.googleapis.com/envoy.extensions."
	stringAny = "type.googleapis.com/google.protobuf.StringValue"
)

// Listener is an HTTP listener on loopback with its route table: what a test about one filter needs of an Envoy.
type Listener struct {
	// Name is also the stat prefix.
	Name string
	// Port is as in envoytest.Options.Config (10000 to 10099 become free ports); 0: Envoy takes a free one.
	Port int
	// Filters are the HTTP filters before the router.
	Filters List
	// Routes are those of one virtual host for all domains.
	Routes List
	// AccessLog is nil for none.
	AccessLog Obj
	// HCM and Table are laid over the HTTP connection manager and the route table.
	HCM, Table Obj
}

// Bootstrap is a bootstrap with these listeners, and clusters by name on loopback ports; a cluster on port 0 has no
// endpoint.
func Bootstrap(clusters map[string]int, listeners ...Listener) string {
	var cs, ls List
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		cs = append(cs, cluster(name, clusters[name]))
	}
	for _, l := range listeners {
		ls = append(ls, l.config())
	}
	b, err := json.Marshal(Obj{"static_resources": Obj{"listeners": ls, "clusters": cs}})
	if err != nil {
		panic(fmt.Errorf("write Envoy's configuration: %w", err)) // a test put something into it that is not JSON
	}
	return string(b)
}

func cluster(name string, port int) Obj {
	assignment := Obj{"cluster_name": name}
	if port != 0 {
		assignment["endpoints"] = List{Obj{"lb_endpoints": List{Obj{"endpoint": Obj{"address": address(port)}}}}}
	}
	return Obj{"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment}
}

func address(port int) Obj {
	return Obj{"socket_address": Obj{"address": "127.0.0.1", "port_value": port}}
}

func (l Listener) config() Obj {
	table := Obj{"virtual_hosts": List{Obj{"name": "all", "domains": List{"*"}, "routes": l.Routes}}}
	maps.Copy(table, l.Table)
	hcm := Obj{
		"@type":        extension + "filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix":  l.Name,
		"http_filters": append(slices.Clone(l.Filters), Obj{"name": "router", "typed_config": Obj{"@type": extension + "filters.http.router.v3.Router"}}),
		"route_config": table,
	}
	if l.AccessLog != nil {
		hcm["access_log"] = List{l.AccessLog}
	}
	maps.Copy(hcm, l.HCM)
	return Obj{"name": l.Name, "address": address(l.Port),
		"filter_chains": List{Obj{"filters": List{Obj{"name": "hcm", "typed_config": hcm}}}}}
}

// TextLog is an access log on Envoy's standard output, which envoytest's Envoy.Log tells. Each line ends by itself.
func TextLog(format string) Obj {
	return Obj{"name": "stdout", "typed_config": Obj{
		"@type":      extension + "access_loggers.stream.v3.StdoutAccessLog",
		"log_format": Obj{"text_format_source": Obj{"inline_string": format + "\n"}},
	}}
}

// JSONLog is an access log in a file, an object in each line.
func JSONLog(file string, fields Obj) Obj {
	return Obj{"name": "file", "typed_config": Obj{
		"@type": extension + "access_loggers.file.v3.FileAccessLog",
		"path":  file, "log_format": Obj{"json_format": fields},
	}}
}

// ModuleFilter is lib<module>.so as an HTTP filter. metrics begins the names of its metrics; config is what the module
// gets, as text.
func ModuleFilter(module, filter, metrics, config string) Obj {
	return Obj{"name": "mizzen", "typed_config": moduleConfig("DynamicModuleFilter", module, filter, metrics, config)}
}

// ModuleRoute is what a route's typed_per_filter_config holds for a ModuleFilter.
func ModuleRoute(module, filter, metrics, config string) Obj {
	return Obj{"mizzen": moduleConfig("DynamicModuleFilterPerRoute", module, filter, metrics, config)}
}

func moduleConfig(kind, module, filter, metrics, config string) Obj {
	return Obj{
		"@type":                 extension + "filters.http.dynamic_modules.v3." + kind,
		"dynamic_module_config": Obj{"name": module, "do_not_close": true, "metrics_namespace": metrics},
		"filter_name":           filter,
		"filter_config":         Obj{"@type": stringAny, "value": config},
	}
}

// WasmFilter is a proxy-wasm module as an HTTP filter. Filters of one file share a VM; root is the plugin's name.
func WasmFilter(file, root, config string) Obj {
	return Obj{"name": "mizzen", "typed_config": Obj{
		"@type": extension + "filters.http.wasm.v3.Wasm",
		"config": Obj{
			"name": root,
			"vm_config": Obj{"vm_id": "mizzen", "runtime": "envoy.wasm.runtime.v8",
				"code": Obj{"local": Obj{"filename": file}}},
			"configuration": Obj{"@type": stringAny, "value": config},
		},
	}}
}

// Route is a route for paths with a prefix to a cluster; more is laid over it.
func Route(name, prefix, cluster string, more Obj) Obj {
	r := Obj{"name": name, "match": Obj{"prefix": prefix}, "route": Obj{"cluster": cluster}}
	maps.Copy(r, more)
	return r
}

// WithHeader is a match of any path by one header's exact value.
func WithHeader(name, value string) Obj {
	return Obj{"prefix": "/", "headers": List{Obj{"name": name, "string_match": Obj{"exact": value}}}}
}

// AddHeader is what a route adds to requests.
func AddHeader(name, value string) Obj {
	return Obj{"request_headers_to_add": List{Obj{"header": Obj{"key": name, "value": value}}}}
}
