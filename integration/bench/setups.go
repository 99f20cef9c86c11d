package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// setups are the Envoys to compare: none and native, in this order, then the chain in the dynamic module ("chain"),
// native with a tracer (what the chain's tracing policy does), the other hosts if they have been built, and the parts
// if asked for.
func setups(port int, o options) []*setup {
	so := filepath.Join(o.build, "libmizzen.so")
	base := []*setup{
		{name: "no filter", module: "-", config: config(port, "", false, plainRoutes)},
		{name: "native", module: "-", config: config(port, nativeFilters, false, nativeRoutes)},
	}
	more := []*setup{
		{name: "chain", module: so, config: config(port, own.filter(tracing+", "+limit), true, chainRoutes)},
		{name: "native+tracer", module: "-", config: config(port, nativeFilters, false, nativeRoutes, nativeTracer)},
	}
	if file := filepath.Join(o.build, "mizzen.wasm"); built(file) {
		more = append(more, &setup{name: "wasm", module: "-", config: config(port, wasmFilter(file), true, wasmRoutes)})
	}
	if file := filepath.Join(o.build, "libgolanghost.so"); built(file, filepath.Join(o.build, "libmizzen-golang.so")) {
		more = append(more, &setup{name: "golanghost", module: file, config: config(port, golang.filter(tracing+", "+limit), true, golangRoutes)})
	}
	if o.parts {
		more = append(more,
			&setup{name: "empty chain", module: so, config: config(port, own.filter(""), false, plainRoutes)},
			&setup{name: "tracing", module: so, config: config(port, own.filter(tracing), true, plainRoutes)},
			&setup{name: "ratelimit", module: so, config: config(port, own.filter(limit), false, plainRoutes)},
			&setup{name: "fault", module: so, config: config(port, own.filter(fault), false, plainRoutes)},
			&setup{name: "canary", module: so, config: config(port, own.filter(""), false, canaryRoutes)},
			&setup{name: "reqid off", module: "-", config: config(port, "", true, plainRoutes)},
		)
	}
	if o.only != "" {
		names := strings.Split(o.only, ",")
		more = slices.DeleteFunc(more, func(s *setup) bool { return !slices.Contains(names, s.name) })
	}
	return append(base, more...)
}

// built tells whether a host's files are there; what is missing is said and left out.
func built(files ...string) bool {
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			fmt.Fprintln(os.Stderr, "bench: a host is left out:", err)
			return false
		}
	}
	return true
}

// config is a hop as a sidecar has it: one listener, one worker, one upstream under two names. ownID says that a
// policy, and not Envoy, makes x-request-id; manager is added to the connection manager.
func config(port int, filters string, ownID bool, routes string, manager ...string) string {
	return fmt.Sprintf(`
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: hop
          generate_request_id: %v%s
          http_filters:%s
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: shop
              domains: ["*"]
%s
  clusters:
  - name: v1
    load_assignment: &upstream
      cluster_name: upstream
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
  - name: v2
    load_assignment: *upstream
`, !ownID, strings.Join(manager, ""), filters, routes, port)
}

const plainRoutes = `
              routes: [{match: {prefix: /}, route: {cluster: v1}}]`

// Nothing is refused, delayed or aborted: what is compared is the price of being able to.
const nativeFilters = `
          - name: local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {max_tokens: 1000000000, tokens_per_fill: 1000000000, fill_interval: 1s}
              filter_enabled: {default_value: {numerator: 100}}
              filter_enforced: {default_value: {numerator: 100}}
              enable_x_ratelimit_headers: DRAFT_VERSION_03
          - name: fault
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
              headers: [{name: x-fault, present_match: true}]
              abort: {http_status: 503, percentage: {numerator: 10}}`

// nativeTracer propagates B3 and W3C contexts as the tracing policy does, and samples as much.
const nativeTracer = `
          tracing:
            random_sampling: {value: 1}
            provider:
              name: zipkin
              typed_config:
                "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig
                collector_cluster: v1
                collector_endpoint: /spans
                collector_endpoint_version: HTTP_JSON
                trace_id_128bit: true
                trace_context_option: USE_B3_WITH_W3C_PROPAGATION`

const nativeRoutes = `
              routes:
              - match: {prefix: /, headers: [{name: x-group, string_match: {exact: testers}}]}
                route: {cluster: v2}
              - match: {prefix: /}
                route: {weighted_clusters: {clusters: [{name: v1, weight: 90}, {name: v2, weight: 10}]}}`

const (
	tracing = `"tracing":{"sampling":{"percentage":1}}`
	limit   = `"ratelimit":{"limits":[{"name":"all","requests":1000000000,"per":"1s"}]}`
	fault   = `"fault":{"rules":[{"name":"some","match":[{"headers":[{"name":"x-fault","present":true}]}],"abort":{"percentage":10,"httpStatus":503}}]}`
	canary  = `"canary":{"rules":[{"name":"testers","match":[{"headers":[{"name":"x-group","exact":"testers"}]}],"destinations":[{"name":"v2","route":"r0.d0"}]},` +
		`{"name":"all","destinations":[{"name":"v1","weight":90,"route":"r1.d0"},{"name":"v2","weight":10,"route":"r1.d1"}]}]}`
)

// module is a dynamic module that carries the chain.
type module struct{ name, filterName string }

var (
	own    = module{"mizzen", "mizzen"}
	golang = module{"golanghost", "mizzen@libmizzen-golang.so"}
)

func (m module) filter(policies string) string {
	return fmt.Sprintf(`
          - name: mizzen
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
              dynamic_module_config: {name: %s, do_not_close: true, metrics_namespace: mizzen}
              filter_name: %s
              filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{%s}'}`, m.name, m.filterName, policies)
}

// level is a typed_per_filter_config.
func (m module) level(policies string) string {
	return fmt.Sprintf(`typed_per_filter_config: {mizzen: {"@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute, `+
		`dynamic_module_config: {name: %s, do_not_close: true, metrics_namespace: mizzen}, filter_name: %s, `+
		`filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{%s}'}}}`, m.name, m.filterName, policies)
}

func wasmFilter(file string) string {
	return fmt.Sprintf(`
          - name: mizzen
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: mizzen
                vm_config: {vm_id: mizzen, runtime: envoy.wasm.runtime.v8, code: {local: {filename: %q}}}
                configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{%s, %s}'}`, file, tracing, limit)
}

// The tables are what the control plane makes of the same rules: the canary at the virtual host, a route for each
// destination with the fault, and the native routes for requests that the policy leaves alone. Contrib's golang filter
// sees one configuration for each stream, so there the virtual host has the fault too; wasm reads all from metadata.
var (
	chainRoutes  = routes(own.level(canary), own.level(fault))
	canaryRoutes = routes(own.level(canary), own.level(""))
	golangRoutes = routes(golang.level(canary+", "+fault), "")
	wasmRoutes   = routes(fmt.Sprintf(`metadata: {filter_metadata: {mizzen: {config: '{%[1]s}', config.r0.d0: '{%[2]s}', config.r1.d0: '{%[2]s}', config.r1.d1: '{%[2]s}'}}}`,
		canary, fault), "")
)

func routes(host, route string) string {
	to := func(token, cluster string) string {
		return fmt.Sprintf(`
              - match: {prefix: /, headers: [{name: x-mizzen-route, string_match: {exact: %s}}]}
                route: {cluster: %s}
                %s`, token, cluster, route)
	}
	return "              " + host + `
              request_headers_to_remove: [x-mizzen-route]
              routes:` + to("r0.d0", "v2") + to("r1.d0", "v1") + to("r1.d1", "v2") + `
              - match: {prefix: /}
                route: {weighted_clusters: {clusters: [{name: v1, weight: 90}, {name: v2, weight: 10}]}}`
}
