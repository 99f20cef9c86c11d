package standalone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// TestFaultByUpstreamCluster: what Envoy's own filter does with upstream_cluster is, here, a configuration on the entry of a
// weighted cluster.
func TestFaultByUpstreamCluster(t *testing.T) {
	envoytest.Find(t)
	v1, v2 := envoytest.NewUpstream(t, "v1"), envoytest.NewUpstream(t, "v2")
	e := envoytest.Start(t, envoytest.Options{Concurrency: 1, Config: fmt.Sprintf(`
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          http_filters:
          - name: mizzen
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
              dynamic_module_config: &module {name: mizzen, do_not_close: true, metrics_namespace: mizzen}
              filter_name: mizzen
              filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{}'}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route:
                  weighted_clusters:
                    clusters:
                    - {name: v1, weight: 50}
                    - name: v2
                      weight: 50
                      typed_per_filter_config:
                        mizzen:
                          "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute
                          dynamic_module_config: *module
                          filter_name: mizzen
                          filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":418}}]}}'}
  clusters:
  - {name: v1, load_assignment: {cluster_name: v1, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}}
  - {name: v2, load_assignment: {cluster_name: v2, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}}
`, v1.Port, v2.Port)})
	const n = 400
	aborted := 0
	for range n {
		switch a := e.Get(t, ingress, "/"); {
		case a.Status == 418:
			aborted++
		case a.Status != 200 || !strings.Contains(a.Body, `"v1"`):
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	within(t, "aborted", aborted, n, 0.5)
	if v2.Requests() != 0 {
		t.Errorf("%d requests reached v2, whose requests are all aborted", v2.Requests())
	}
}
