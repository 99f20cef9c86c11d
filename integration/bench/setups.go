package main

import (
	"fmt"
	"strings"
)

// setups are the Envoys to compare: none, native, chain, and native with a tracer (what the chain's tracing policy
// does), in this order, then the parts if asked for.
func setups(port int, parts bool) []*setup {
	all := []*setup{
		{name: "no filter", config: config(port, "", false, plainRoutes)},
		{name: "native", config: config(port, nativeFilters, false, nativeRoutes)},
		{name: "chain", config: config(port, mizzen(tracing+", "+limit), true, chainRoutes)},
		{name: "native+tracer", config: config(port, nativeFilters, false, nativeRoutes, nativeTracer)},
	}
	if !parts {
		return all
	}
	return append(all,
		&setup{name: "empty chain", config: config(port, mizzen(""), false, plainRoutes)},
		&setup{name: "tracing", config: config(port, mizzen(tracing), true, plainRoutes)},
		&setup{name: "ratelimit", config: config(port, mizzen(limit), false, plainRoutes)},
		&setup{name: "fault", config: config(port, mizzen(fault), false, plainRoutes)},
		&setup{name: "canary", config: config(port, mizzen(""), false, canaryRoutes)},
		&setup{name: "reqid off", config: config(port, "", true, plainRoutes)},
	)
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

func mizzen(policies string) string {
	return fmt.Sprintf(`
          - name: mizzen
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
              dynamic_module_config: {name: mizzen, do_not_close: true, metrics_namespace: mizzen}
              filter_name: mizzen
              filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{%s}'}`, policies)
}

// level is a typed_per_filter_config.
func level(policies string) string {
	return fmt.Sprintf(`typed_per_filter_config: {mizzen: {"@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute, `+
		`dynamic_module_config: {name: mizzen, do_not_close: true, metrics_namespace: mizzen}, filter_name: mizzen, `+
		`filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{%s}'}}}`, policies)
}

// chainRoutes is what the control plane makes of the same rules: the canary at the virtual host, a route for each
// destination with the fault, and the native routes for requests that the policy leaves alone.
var (
	chainRoutes  = routes(fault)
	canaryRoutes = routes("")
)

func routes(policies string) string {
	to := func(token, cluster string) string {
		return fmt.Sprintf(`
              - match: {prefix: /, headers: [{name: x-mizzen-route, string_match: {exact: %s}}]}
                route: {cluster: %s}
                %s`, token, cluster, level(policies))
	}
	return "              " + level(canary) + `
              request_headers_to_remove: [x-mizzen-route]
              routes:` + to("r0.d0", "v2") + to("r1.d0", "v1") + to("r1.d1", "v2") + `
              - match: {prefix: /}
                route: {weighted_clusters: {clusters: [{name: v1, weight: 90}, {name: v2, weight: 10}]}}`
}
