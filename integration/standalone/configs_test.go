package standalone

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(envoytest.Root(), "envoy-configs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ingress is the port that the configurations' comments name.
const ingress = 10000

func startConfig(t *testing.T, name string) *envoytest.Envoy {
	t.Helper()
	envoytest.Find(t)
	return envoytest.Start(t, envoytest.Options{Config: read(t, "dynamic-module/"+name), Concurrency: 2})
}

func TestConfigsAreValid(t *testing.T) {
	envoytest.Find(t)
	files, err := filepath.Glob(filepath.Join(envoytest.Root(), "envoy-configs", "dynamic-module", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			config := read(t, "dynamic-module/"+filepath.Base(f))
			if out, err := envoytest.Validate(t, config, ""); err != nil {
				t.Errorf("Envoy refuses it: %v\n%s", err, out)
			}
			head, _, _ := strings.Cut(config, "static_resources:")
			for _, want := range []string{"ENVOY_DYNAMIC_MODULES_SEARCH_PATH=build", "-c envoy-configs/dynamic-module/" + filepath.Base(f), "curl "} {
				if !strings.Contains(head, want) {
					t.Errorf("its comment does not say %q", want)
				}
			}
		})
	}
}

func TestFaultConfig(t *testing.T) {
	e := startConfig(t, "fault.yaml")
	cases := []struct {
		path    string
		headers []string
		status  int
		took    time.Duration
		body    string
	}{
		{"/", nil, 200, 0, "hello\n"},
		{"/", []string{"x-demo: slow"}, 200, 2 * time.Second, "hello\n"},
		{"/teapot", nil, 418, 0, "fault filter abort"},
		{"/", []string{"x-demo: slow", "x-demo: dead"}, 503, 2 * time.Second, "fault filter abort"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.path, c.headers), func(t *testing.T) {
			a := e.Get(t, ingress, c.path, c.headers...)
			if a.Status != c.status || a.Body != c.body {
				t.Errorf("got %d %q, want %d %q", a.Status, a.Body, c.status, c.body)
			}
			if a.Took < c.took || a.Took > c.took+10*time.Second {
				t.Errorf("took %v, want %v", a.Took, c.took)
			}
		})
	}
	t.Run("share", func(t *testing.T) {
		const n, p = 2000, 0.2
		aborted := 0
		for range n {
			if e.Get(t, ingress, "/flaky").Status == http.StatusServiceUnavailable {
				aborted++
			}
		}
		within(t, "aborted", aborted, n, p)
	})
	if s := e.Stats(t, "mizzen.*fault"); sum(s) == 0 {
		t.Errorf("no fault counters: %v", s)
	}
}

func TestRateLimitConfig(t *testing.T) {
	e := startConfig(t, "ratelimit.yaml")
	for i := range 5 {
		a := e.Get(t, ingress, "/", "x-user: ann")
		if a.Status != 200 || a.Header.Get("x-ratelimit-remaining") != strconv.Itoa(4-i) {
			t.Errorf("request %d: %d, remaining %q; want 200, %d", i+1, a.Status, a.Header.Get("x-ratelimit-remaining"), 4-i)
		}
	}
	a := e.Get(t, ingress, "/", "x-user: ann")
	if a.Status != 429 || a.Header.Get("retry-after") == "" || a.Body != "rate limit per-user reached\n" {
		t.Errorf("the sixth: %d %q, retry-after %q", a.Status, a.Body, a.Header.Get("retry-after"))
	}
	if a := e.Get(t, ingress, "/", "x-user: bob"); a.Status != 200 {
		t.Errorf("another user: %d", a.Status)
	}
	for i := range 20 {
		if a := e.Get(t, ingress, "/", "x-user: gold"); a.Status != 200 {
			t.Errorf("gold, request %d: %d", i+1, a.Status)
		}
	}
	for range 3 {
		if a := e.Get(t, ingress, "/search"); a.Status != 200 {
			t.Errorf("a shadow limit refused: %d", a.Status)
		}
	}
	if got := sum(e.Stats(t, "mizzen.*ratelimit_requests.*shadow_limited")); got != 2 {
		t.Errorf("shadow_limited counts %d, want 2", got)
	}
}

func TestCanaryConfig(t *testing.T) {
	e := startConfig(t, "canary.yaml")
	side := func(headers ...string) (string, *envoytest.Answer) {
		a := e.Get(t, ingress, "/", headers...)
		if a.Status != 200 {
			t.Fatalf("status %d %s", a.Status, a.Body)
		}
		return strings.TrimSpace(a.Body), a
	}
	t.Run("testers", func(t *testing.T) {
		for range 20 {
			if got, a := side("x-group: testers"); got != "v2" || a.Header.Get("x-canary") != "testers/v2" {
				t.Fatalf("a tester got %s, x-canary %q", got, a.Header.Get("x-canary"))
			}
		}
	})
	t.Run("share", func(t *testing.T) {
		const n = 2000
		v2 := 0
		for range n {
			if got, _ := side(); got == "v2" {
				v2++
			}
		}
		within(t, "v2", v2, n, 0.1)
	})
	t.Run("sticky and unforgeable", func(t *testing.T) {
		for range 20 {
			first, a := side()
			cookie, _, _ := strings.Cut(a.Header.Get("set-cookie"), ";")
			if !strings.HasPrefix(cookie, "side=") {
				t.Fatalf("set-cookie %q", a.Header.Get("set-cookie"))
			}
			for _, forged := range []string{"v1", "v2"} {
				if got, _ := side("cookie: "+cookie, "x-mizzen-cluster: "+forged); got != first {
					t.Fatalf("%s was on %s, and with a forged header on %s", cookie, first, got)
				}
			}
		}
		if got := sum(e.Stats(t, "mizzen.*canary_forged")); got != 40 {
			t.Errorf("canary_forged_total %d, want 40", got)
		}
	})
}

func TestTracingConfig(t *testing.T) {
	e := startConfig(t, "tracing.yaml")
	const trace = "463ac35c9f6413ad48485a3953bb6124"
	saw := func(headers ...string) http.Header { return e.Get(t, ingress, "/", headers...).Header }
	t.Run("new", func(t *testing.T) {
		const n = 1000
		sampled := 0
		for range n {
			h := saw()
			parts := strings.Split(h.Get("x-saw-traceparent"), "-")
			if len(parts) != 4 || len(parts[1]) != 32 || parts[1] != h.Get("x-saw-b3-traceid") || len(h.Get("x-saw-request-id")) != 36 {
				t.Fatalf("traceparent %q, b3 %q, request id %q", h.Get("x-saw-traceparent"), h.Get("x-saw-b3-traceid"), h.Get("x-saw-request-id"))
			}
			if parts[3] == "01" {
				sampled++
			}
		}
		within(t, "sampled", sampled, n, 0.5)
	})
	t.Run("jaeger", func(t *testing.T) {
		h := saw("uber-trace-id: " + trace + ":a2fb4a1d1a96d312:0:1")
		tp := h.Get("x-saw-traceparent")
		if !strings.HasPrefix(tp, "00-"+trace+"-") || !strings.HasSuffix(tp, "-01") || h.Get("x-saw-b3-traceid") != trace || h.Get("x-saw-b3-sampled") != "1" {
			t.Errorf("saw %v", h)
		}
	})
	t.Run("not sampled by the caller", func(t *testing.T) {
		for range 20 {
			if tp := saw("traceparent: 00-" + trace + "-a2fb4a1d1a96d312-00").Get("x-saw-traceparent"); !strings.HasSuffix(tp, "-00") {
				t.Fatalf("traceparent %q", tp)
			}
		}
	})
	t.Run("forced", func(t *testing.T) {
		for range 20 {
			if tp := saw("x-trace-me: 1").Get("x-saw-traceparent"); !strings.HasSuffix(tp, "-01") {
				t.Fatalf("traceparent %q", tp)
			}
		}
	})
	e.Stop()
	if !strings.Contains(e.Log(), "GET / 200 trace="+trace) {
		t.Error("the access log lacks the trace id")
	}
}

func TestChainConfig(t *testing.T) {
	e := startConfig(t, "chain.yaml")
	a := e.Get(t, ingress, "/", "x-user: ann")
	if a.Status != 200 || a.Body != "v1\n" || a.Header.Get("x-canary") != "everyone/v1" ||
		a.Header.Get("x-ratelimit-remaining") != "4" || len(a.Header.Get("x-saw-traceparent")) != 55 {
		t.Errorf("first request: %+v", a)
	}
	for range 4 {
		a := e.Get(t, ingress, "/", "x-user: ann", "x-group: testers")
		if a.Status != 200 || a.Body != "v2\n" || a.Took < 500*time.Millisecond {
			t.Errorf("tester: %+v", a)
		}
	}
	if a := e.Get(t, ingress, "/", "x-user: ann", "x-group: testers"); a.Status != 429 || a.Took > 400*time.Millisecond || a.Header.Get("x-canary") != "testers/v2" {
		t.Errorf("the sixth: %+v", a)
	}
	for range 10 {
		if a := e.Get(t, ingress, "/free", "x-user: ann"); a.Status != 200 {
			t.Errorf("/free: %+v", a)
		}
	}
	e.Stop()
	for _, want := range []string{"/ 200 user=ann canary=everyone/v1 fault=- limit=- trace=", "429 user=ann canary=testers/v2 fault=- limit=per-user trace="} {
		if !strings.Contains(e.Log(), want) {
			t.Errorf("the access log lacks %q:\n%s", want, e.Log())
		}
	}
}

// within asserts that hits of n are p*n within four standard deviations.
func within(t *testing.T, what string, hits, n int, p float64) {
	t.Helper()
	mean, sigma := p*float64(n), math.Sqrt(p*(1-p)*float64(n))
	if math.Abs(float64(hits)-mean) > 4*sigma {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f (4 sigma)", what, hits, n, mean, 4*sigma)
	}
}
