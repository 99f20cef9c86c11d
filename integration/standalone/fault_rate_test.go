package standalone

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// pacing is what filters/fault/README.md tells to write into Envoy's configuration for responseRate: the filter, and what
// keeps its header from the upstream.
func pacing(t *testing.T) (filter, routes string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(envoytest.Root(), "filters", "fault", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, block := range strings.Split(string(b), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.Contains(block, "header_limit: {}") || strings.Contains(block, "request_headers_to_remove: [x-envoy-fault") {
			blocks = append(blocks, block)
		}
	}
	if len(blocks) != 2 {
		t.Fatalf("%d YAML blocks in the README say what responseRate needs, want the filter and the line of the routes", len(blocks))
	}
	indent := func(s string) string { return strings.ReplaceAll("\n"+strings.TrimSpace(s), "\n", "\n          ") }
	return indent(blocks[0]), "  " + strings.TrimSpace(blocks[1])
}

// pacedBy starts an Envoy with a fault configuration and what responseRate needs. GET /n answers n bytes; what else
// there is goes to the upstream as it is, over HTTP/2 below /pkg.
func pacedBy(t *testing.T, fault string) *envoytest.Envoy {
	t.Helper()
	envoytest.Find(t)
	u := envoytest.NewUpstream(t, "upstream", func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("x-envoy-fault-throughput-response"); got != "" {
			w.Header().Set("x-leaked", got)
		}
		if r.Header.Get("content-type") == "application/grpc" {
			w.Header().Set("content-type", "application/grpc")
			w.Header().Set("trailer", "grpc-status")
			defer w.Header().Set("grpc-status", "0")
		}
		n, _ := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, strings.Repeat("x", n)) // the client has gone away
	})
	filter, removed := pacing(t)
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
          access_log:
          - name: stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {text_format_source: {inline_string: "LOG %%RESPONSE_CODE%% %%DYNAMIC_METADATA(mizzen:fault)%% owner=%%DYNAMIC_METADATA(mizzen:fault.owner)%%\n"}}
          http_filters:
          - name: mizzen
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
              dynamic_module_config: {name: mizzen, do_not_close: true, metrics_namespace: mizzen}
              filter_name: mizzen
              filter_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{"fault":%s}'}%s
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
          %s
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {prefix: /pkg}, route: {cluster: http2, timeout: 30s}}
              - {match: {prefix: /}, route: {cluster: http1, timeout: 30s}}
  clusters:
  - name: http1
    load_assignment: &at
      cluster_name: upstream
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
  - name: http2
    load_assignment: *at
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
`, fault, filter, removed, u.Port)})
}

// flow is how a body came in.
type flow struct {
	bytes   int
	pieces  int
	took    time.Duration
	half    float64 // the share of the bytes that had come after half of the time
	header  http.Header
	trailer http.Header
}

// receive reads a body as it comes.
func receive(t *testing.T, c *http.Client, req *http.Request) flow {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f := flow{header: resp.Header}
	var at []time.Time
	var sizes []int
	buf := make([]byte, 64<<10)
	start := time.Now()
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			f.bytes += n
			at, sizes = append(at, time.Now()), append(sizes, n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f.pieces, f.took, f.trailer = len(at), time.Since(start), resp.Trailer
	early := 0
	for i := range at {
		if at[i].Sub(start) <= f.took/2 {
			early += sizes[i]
		}
	}
	f.half = float64(early) / float64(max(f.bytes, 1))
	return f
}

func protocol(http2 bool) *http.Client {
	p := &http.Protocols{}
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: &http.Transport{Protocols: p, DisableCompression: true}, Timeout: 30 * time.Second}
}

// TestFaultResponseRate: what the policy decides and Envoy's own filter does, together.
func TestFaultResponseRate(t *testing.T) {
	const slow = "x-slow: yes"
	e := pacedBy(t, `{"rules":[{"name":"drip","match":[{"headers":[{"name":"x-slow","present":true}]}],"responseRate":{"percentage":100,"kibPerSecond":32},"metadata":{"owner":"team-a"}},
	 {"name":"none","responseRate":{"percentage":0,"kibPerSecond":1}}]}`)
	for _, c := range []struct {
		name, path string
		http2      bool
		headers    []string
		paced      bool
	}{
		{"HTTP/1.1", "/49152", false, []string{slow}, true},
		{"HTTP/2", "/49152", true, []string{slow}, true},
		{"gRPC", "/pkg.Service/49152", true, []string{slow, "content-type: application/grpc", "te: trailers"}, true},
		{"not drawn", "/49152", false, nil, false},
		{"asked for, but not allowed", "/49152", false, []string{"x-envoy-fault-throughput-response: 1"}, false},
		{"not slower than the rule, whatever is asked for", "/49152", false, []string{slow, "x-envoy-fault-throughput-response: 1"}, true},
		{"not sometimes, whatever is asked for", "/49152", false, []string{slow, "x-envoy-fault-throughput-response-percentage: 0"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := receive(t, protocol(c.http2), envoytest.NewRequest(t, "GET", "http://"+e.Addr(10000)+c.path, "", c.headers...))
			if f.bytes != 48<<10 {
				t.Fatalf("%d bytes came", f.bytes)
			}
			// 48 KiB at 32 KiB/s: 1.5 s, of which Envoy gives the first sixteenth of a second at once.
			if c.paced && (f.took < 1400*time.Millisecond || f.took > 20*time.Second || f.pieces < 10 || f.half < 0.25 || f.half > 0.75) {
				t.Errorf("not smooth at 32 KiB/s: %+v", f)
			}
			if !c.paced && f.took > time.Second {
				t.Errorf("throttled: %+v", f)
			}
			if got := f.header.Get("x-leaked"); got != "" {
				t.Errorf("the upstream got x-envoy-fault-throughput-response: %s", got)
			}
			if strings.HasPrefix(c.path, "/pkg") && f.trailer.Get("grpc-status") != "0" {
				t.Errorf("trailers %v", f.trailer)
			}
		})
	}
	t.Cleanup(func() {
		if got := sum(e.Stats(t, "fault_response_rates_total")); got != 5 {
			t.Errorf("%d throttled responses counted, want 5", got)
		}
		envoytest.Await(t, 10*time.Second, "no fault is active", func() bool { return sum(e.Stats(t, "mizzen.*fault_active")) == 0 })
		e.Stop()
		if !strings.Contains(e.Log(), "LOG 200 drip: rate 32 KiB/s owner=team-a\n") || !strings.Contains(e.Log(), "LOG 200 - owner=-\n") {
			t.Errorf("the access log:\n%s", e.Log())
		}
	})
}

// TestFaultResponseRateByHeader: a request asks for the rate, within the rule's percentage, after a delay.
func TestFaultResponseRateByHeader(t *testing.T) {
	e := pacedBy(t, `{"allowHeaders":true,"rules":[{"match":[{"path":{"prefix":"/never"}}],"responseRate":{"percentage":0}},{"delay":{"percentage":100},"responseRate":{"percentage":100}}]}`)
	for _, c := range []struct {
		name, path string
		headers    []string
		least      time.Duration
		most       time.Duration
	}{
		{"rate", "/16384", []string{"x-envoy-fault-throughput-response: 16"}, 900 * time.Millisecond, 20 * time.Second},
		{"rate of 0 percent", "/16384", []string{"x-envoy-fault-throughput-response: 1", "x-envoy-fault-throughput-response-percentage: 0"}, 0, 5 * time.Second},
		{"the rule's percentage", "/never/16384", []string{"x-envoy-fault-throughput-response: 1"}, 0, 5 * time.Second},
		{"nonsense", "/16384", []string{"x-envoy-fault-throughput-response: fast"}, 0, 5 * time.Second},
		{"nothing asked", "/16384", nil, 0, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := e.Get(t, 10000, c.path, c.headers...)
			if a.Status != 200 || len(a.Body) != 16384 || a.Took < c.least || a.Took > c.most || a.Header.Get("x-leaked") != "" {
				t.Errorf("%d, %d bytes after %v, leaked %q", a.Status, len(a.Body), a.Took, a.Header.Get("x-leaked"))
			}
		})
	}
}
