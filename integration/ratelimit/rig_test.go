package ratelimit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	service "github.com/mizzen-mesh/mizzen/controlplane/ratelimit"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// limits: the names are those that the proxies' configurations use.
const limits = `apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: front, namespace: shop}
spec:
  limits:
  - {name: per-user, key: [{header: x-user}], requests: 40, per: hour, scope: global}
  - {name: watched, requests: 1, per: hour, scope: global, action: shadow}
`

// rls is a running rate-limit service.
type rls struct {
	addr, pages string
	log         *textlog.Buffer
	stop        func()
}

// serve starts a service at addr ("": any free port). It ends with the test, or by stop.
func serve(t *testing.T, addr string, o service.Options) *rls {
	t.Helper()
	return serveLimits(t, addr, limits, o)
}

func serveLimits(t *testing.T, addr, limits string, o service.Options) *rls {
	t.Helper()
	file := filepath.Join(t.TempDir(), "limits.yaml")
	if err := os.WriteFile(file, []byte(limits), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &rls{log: &textlog.Buffer{}}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listening, done := make(chan struct{}), make(chan error, 1)
	o.Addr, o.HTTPAddr, o.Log = addr, "127.0.0.1:0", slog.New(slog.NewTextHandler(r.log, nil))
	o.Watch = func(ctx context.Context, publish func(istio.Set, istio.Diagnostics)) error {
		return dir.Watch(ctx, []string{file}, o.Log, publish)
	}
	o.Listening = func(grpc, http net.Addr) {
		r.addr, r.pages = grpc.String(), http.String()
		close(listening)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- service.Run(ctx, o) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the service ended: %v\n%s", err, r.log)
		}
	})
	t.Cleanup(r.stop)
	select {
	case <-listening:
	case err := <-done:
		done <- nil
		t.Fatalf("the service did not start: %v", err)
	}
	envoytest.Await(t, 10*time.Second, "limits are read", func() bool {
		resp, err := http.Get("http://" + r.pages + "/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return r
}

// metric reads a series of the service.
func (r *rls) metric(t *testing.T, series string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + r.pages + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "mizzen_ratelimit_"+series+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return 0
}

const ingress = 10000

// hello answers requests itself.
const hello = `direct_response: {status: 200, body: {inline_string: "hello\n"}}`

// proxy starts an Envoy whose HTTP filter and route action are given. Its cluster "ratelimit" is at addr, its cluster
// "backend" at backend.
func proxy(t *testing.T, addr, filter, action, backend, module string) *envoytest.Envoy {
	t.Helper()
	endpoints := func(addr string) string {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("[{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]", host, port)
	}
	return envoytest.Start(t, envoytest.Options{Concurrency: 2, Module: module, Config: fmt.Sprintf(`
static_resources:
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          http_filters:
          - %s
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                %s
  clusters:
  - name: backend
    connect_timeout: 1s
    type: STATIC
    load_assignment: {cluster_name: backend, endpoints: %s}
  - name: ratelimit
    connect_timeout: 1s
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: ratelimit, endpoints: %s}
`, filter, action, endpoints(backend), endpoints(addr))})
}

// mizzenProxy is a proxy with Mizzen's filter; more is added to its configuration of the service. The configuration is
// text, because Envoy reads a fraction in YAML as a string.
func mizzenProxy(t *testing.T, addr, more string) *envoytest.Envoy {
	t.Helper()
	return proxy(t, addr, fmt.Sprintf(`{name: mizzen, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter,
            dynamic_module_config: {name: mizzen, do_not_close: true, metrics_namespace: mizzen}, filter_name: mizzen,
            filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{"ratelimit": {
              "global": {"cluster": "ratelimit", %s},
              "limits": [
                {"name": "shop/front/per-user", "key": [{"header": "x-user"}], "requests": 40, "per": "1h", "scope": "global"},
                {"name": "shop/front/watched", "requests": 1, "per": "1h", "scope": "global", "action": "shadow"},
                {"name": "here", "match": [{"path": {"prefix": "/here"}}], "requests": 2, "per": "1h"}]}}'}}}`, more), hello, addr, "")
}

// passed sends n requests to each proxy at once and counts the answers by status.
func passed(t *testing.T, n int, user string, proxies ...*envoytest.Envoy) map[int]int {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[int]int{}
	for _, p := range proxies {
		for range 4 {
			wg.Go(func() {
				for range n / 4 {
					resp, err := http.DefaultClient.Do(envoytest.NewRequest(t, http.MethodGet, "http://"+p.Addr(ingress)+"/", "", "x-user: "+user))
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					mu.Lock()
					out[resp.StatusCode]++
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return out
}
