package standalone

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// attempts collects what the upstream saw of each attempt.
type attempts struct {
	mu   sync.Mutex
	seen []http.Header
}

func (a *attempts) take() []http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// behindRouter starts an Envoy whose cluster, not its listener, has Mizzen's filter: it then sees each attempt by itself. The
// first attempt that reaches the application with x-fail gets 500 from it.
func behindRouter(t *testing.T, policies string) (*envoytest.Envoy, *attempts) {
	t.Helper()
	envoytest.Find(t)
	saw := &attempts{}
	u := envoytest.NewUpstream(t, "upstream", func(w http.ResponseWriter, r *http.Request) {
		saw.mu.Lock()
		saw.seen = append(saw.seen, r.Header.Clone())
		first := len(saw.seen) == 1
		saw.mu.Unlock()
		if first && r.Header.Get("x-fail") != "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	return envoytest.Start(t, envoytest.Options{Concurrency: 1, Config: fmt.Sprintf(`
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
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: upstream, retry_policy: {retry_on: 5xx, num_retries: 3, per_try_timeout: 1s, retry_back_off: {base_interval: 0.001s}}}
  clusters:
  - name: upstream
    circuit_breakers: {thresholds: [{max_retries: 100}]} # Envoy's own is 3 at once
    load_assignment: {cluster_name: upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {}}
        http_filters:
        - name: mizzen
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
            dynamic_module_config: {name: mizzen, do_not_close: true, metrics_namespace: mizzen}
            filter_name: mizzen
            filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '%s'}
        - name: codec
          typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}
`, u.Addr[strings.LastIndexByte(u.Addr, ':')+1:], policies)}), saw
}

// TestUpstreamFilter: what each policy does on a cluster.
func TestUpstreamFilter(t *testing.T) {
	t.Run("tracing", func(t *testing.T) {
		e, saw := behindRouter(t, `{"tracing":{}}`)
		const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
		if a := e.Get(t, 10000, "/", "x-fail: 1", "traceparent: 00-"+trace+"-00f067aa0ba902b7-01"); a.Status != 200 {
			t.Fatalf("status %d", a.Status)
		}
		seen := saw.take()
		if len(seen) != 2 {
			t.Fatalf("%d attempts", len(seen))
		}
		first, second := seen[0].Get("traceparent"), seen[1].Get("traceparent")
		if !strings.HasPrefix(first, "00-"+trace) || !strings.HasPrefix(second, "00-"+trace) || first == second {
			t.Errorf("spans of the attempts: %s and %s, want one trace, a span for each", first, second)
		}
	})
	t.Run("fault delays each attempt", func(t *testing.T) {
		e, saw := behindRouter(t, `{"fault":{"rules":[{"delay":{"percentage":50,"fixed":"30s"}}]}}`)
		const n = 24
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if a := e.Get(t, 10000, "/"); a.Status == 200 {
					passed.Add(1)
				}
			})
		}
		wg.Wait()
		// Four attempts are delayed together once in 16 times; without retries 12 of 24 would pass. 18 is 2.4 sigma above
		// that, and 3.8 below what is expected.
		if got := passed.Load(); got < 18 {
			t.Errorf("%d of %d passed: an attempt that is too slow is tried again, and drawn anew", got, n)
		}
		if got := len(saw.take()); int64(got) < passed.Load() {
			t.Errorf("the application saw %d attempts, %d passed", got, passed.Load())
		}
	})
	t.Run("fault aborts end the request", func(t *testing.T) {
		// Envoy's router does not try again what a filter of the cluster answered itself.
		e, saw := behindRouter(t, `{"fault":{"rules":[{"match":[{"headers":[{"name":"x-abort","present":true}]}],"abort":{"percentage":100,"httpStatus":503}}]}}`)
		if a := e.Get(t, 10000, "/", "x-abort: 1"); a.Status != 503 || len(saw.take()) != 0 {
			t.Errorf("status %d", a.Status)
		}
		if aborts := sum(e.Stats(t, "mizzen.*fault.*abort")); aborts != 1 {
			t.Errorf("%d aborts for one request with three retries, want 1", aborts)
		}
	})
	t.Run("ratelimit", func(t *testing.T) {
		e, saw := behindRouter(t, `{"ratelimit":{"limits":[{"name":"upstream","requests":3,"per":"1h"}]}}`)
		codes := map[int]int{}
		for range 5 {
			codes[e.Get(t, 10000, "/").Status]++
		}
		if codes[200] != 3 || codes[429] != 2 || len(saw.take()) != 3 {
			t.Errorf("codes %v", codes)
		}
	})
	t.Run("canary comes too late", func(t *testing.T) {
		e, saw := behindRouter(t, `{"canary":{"rules":[{"name":"all","destinations":[{"name":"v2","cluster":"nowhere"}]}]}}`)
		if a := e.Get(t, 10000, "/"); a.Status != 200 || len(saw.take()) != 1 {
			t.Errorf("status %d: the cluster has been chosen by then", a.Status)
		}
	})
}
