package standalone

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func faultPromises(t *testing.T, r *running) {
	before := r.faults(t)
	cases := []struct {
		path    string
		headers []string
		status  int
		took    time.Duration
		body    string
	}{
		{"/", nil, 200, 0, "hello\n"},
		{"/", []string{"x-demo: slow"}, 200, time.Second, "hello\n"},
		{"/teapot", nil, 418, 0, "fault filter abort"},
		{"/", []string{"x-demo: slow", "x-demo: dead"}, 503, time.Second, "fault filter abort"},
	}
	for _, c := range cases {
		a := r.Get(t, ingress, c.path, c.headers...)
		if a.Status != c.status || a.Body != c.body || a.Took < c.took-r.early() {
			t.Errorf("%s %v: got %d %q after %v, want %d %q after %v", c.path, c.headers, a.Status, a.Body, a.Took, c.status, c.body, c.took)
		}
	}
	const n = 1000
	aborted := 0
	for range n {
		if r.Get(t, ingress, "/flaky").Status == http.StatusServiceUnavailable {
			aborted++
		}
	}
	within(t, "aborted", aborted, n, 0.2)
	// Delays: one slow, one dead. Aborts: one dead, one teapot, the flaky ones.
	want := [2]int64{before[0] + 2, before[1] + 2 + int64(aborted)}
	envoytest.Await(t, 10*time.Second, fmt.Sprint("delays and aborts are counted: ", want), func() bool { return r.faults(t) == want })
}

// early is how much too early a delay may end: Envoy's own timers count from when its event loop last looked at the clock.
func (r *running) early() time.Duration {
	if r.host.native {
		return 20 * time.Millisecond
	}
	return 0
}

// faults are the delays and aborts counted so far.
func (r *running) faults(t *testing.T) [2]int64 {
	if r.host.native {
		return [2]int64{sum(r.Stats(t, `^http\.ingress\.fault\.delays_injected$`)), sum(r.Stats(t, `^http\.ingress\.fault\.aborts_injected$`))}
	}
	return [2]int64{r.count(t, "fault_delays_total", ".*"), r.count(t, "fault_aborts_total", ".*")}
}

func canaryPromises(t *testing.T, r *running) {
	side := func(headers ...string) (string, *envoytest.Answer) {
		a := r.Get(t, ingress, "/", headers...)
		got := strings.TrimSpace(a.Body)
		if a.Status != 200 || !strings.HasSuffix(a.Header.Get("x-canary"), "/"+got) {
			t.Fatalf("%d %q, x-canary %q", a.Status, a.Body, a.Header.Get("x-canary"))
		}
		return got, a
	}
	for range 20 {
		if got, a := side("x-group: testers"); got != "v2" || a.Header.Get("x-canary") != "testers/v2" {
			t.Fatalf("a tester got %s, x-canary %q", got, a.Header.Get("x-canary"))
		}
	}
	const n = 1000
	v2 := 0
	for range n {
		if got, _ := side(); got == "v2" {
			v2++
		}
	}
	within(t, "v2", v2, n, 0.1)
	if r.host.native { // sticky by a cookie that somebody else sets
		for i := range 40 {
			cookie := fmt.Sprintf("cookie: side=%d", i)
			first, _ := side(cookie)
			if again, _ := side(cookie); again != first {
				t.Fatalf("%s was on %s, then on %s", cookie, first, again)
			}
		}
		return
	}
	forged := int64(0)
	for range 20 {
		first, a := side()
		cookie, _, _ := strings.Cut(a.Header.Get("set-cookie"), ";")
		if !strings.HasPrefix(cookie, "side=") {
			t.Fatalf("set-cookie %q", a.Header.Get("set-cookie"))
		}
		for _, to := range []string{"v1", "v2"} {
			forged++
			if got, _ := side("cookie: "+cookie, "x-mizzen-cluster: "+to); got != first {
				t.Fatalf("%s was on %s, and with a forged header on %s", cookie, first, got)
			}
		}
	}
	forged += 20 // in the comment
	envoytest.Await(t, 10*time.Second, "forgeries are counted", func() bool { return r.count(t, "canary_forged_total") == forged })
	if got := r.count(t, "canary_decisions_total", "everyone", "v2", "new"); got < int64(v2) {
		t.Errorf("%d new cookies for v2 are counted, there were %d and more", got, v2)
	}
}

func ratelimitPromises(t *testing.T, r *running) {
	for i := range 5 {
		a := r.Get(t, ingress, "/", "x-user: eve")
		if a.Status != 200 || a.Header.Get("x-ratelimit-remaining") != strconv.Itoa(4-i) {
			t.Errorf("request %d: %d, remaining %q; want 200, %d", i+1, a.Status, a.Header.Get("x-ratelimit-remaining"), 4-i)
		}
	}
	a := r.Get(t, ingress, "/", "x-user: eve")
	if a.Status != 429 || !r.host.native && (a.Header.Get("retry-after") == "" || a.Body != "rate limit per-user reached\n") {
		t.Errorf("the sixth: %d %q, retry-after %q", a.Status, a.Body, a.Header.Get("retry-after"))
	}
	for range 30 {
		if a := r.Get(t, ingress, "/"); a.Status != 200 {
			t.Errorf("without a user: %d", a.Status)
		}
	}
	if r.host.native {
		if got := sum(r.Stats(t, `^per-user\.http_local_rate_limit\.enforced$`)); got != 4 {
			t.Errorf("enforced %d times, want 4", got)
		}
		return
	}
	// In the comment: ann twice, and once more; here: eve once.
	envoytest.Await(t, 10*time.Second, "refusals are counted", func() bool {
		return r.count(t, "ratelimit_requests_total", "per-user", "limited", "local") == 4
	})
}

func globalPromises(t *testing.T, r *running) {
	if r.limits == nil { // each of two proxies allows half
		if got := r.count(t, "ratelimit_service_total", ".*"); got == 0 {
			t.Error("it is not counted that the service was not asked")
		}
		return
	}
	// Another proxy counts together with this one: four of ann's, one of them answered by each in turn.
	other := *r
	other.Envoy = envoytest.Start(t, r.options)
	for i := range 7 {
		p := []*running{r, &other}[i%2]
		a := p.Get(t, ingress, "/", "x-user: eve")
		if i < 5 && (a.Status != 200 || a.Header.Get("x-ratelimit-remaining") != strconv.Itoa(4-i)) || i >= 5 && a.Status != 429 {
			t.Errorf("request %d: %d %v", i, a.Status, a.Header)
		}
	}
	if n := r.limits.metric(t, `decisions_total{limit="shop/front/per-user",result="ok"}`); n != "10" {
		t.Errorf("%v requests were allowed, want 5 of ann's and 5 of eve's", n)
	}
	r.limits.stop()
	a := r.Get(t, ingress, "/", "x-user: zoe")
	if a.Status != 200 {
		t.Errorf("without the service: %d", a.Status)
	}
	if !r.host.native && r.count(t, "ratelimit_service_total", "error") == 0 {
		t.Error("it is not counted that the service is away")
	}
}

func tracingPromises(t *testing.T, r *running) {
	const trace = "463ac35c9f6413ad48485a3953bb6124"
	saw := func(headers ...string) http.Header { return r.Get(t, ingress, "/", headers...).Header }
	const n = 1000
	sampled := 0
	for range n {
		h := saw()
		parts := strings.Split(h.Get("x-saw-traceparent"), "-")
		if len(parts) != 4 || len(parts[1]) != 32 || parts[1] != h.Get("x-saw-b3-traceid") || !r.host.native && len(h.Get("x-saw-request-id")) != 36 {
			t.Fatalf("traceparent %q, b3 %q, request id %q", h.Get("x-saw-traceparent"), h.Get("x-saw-b3-traceid"), h.Get("x-saw-request-id"))
		}
		if parts[3] == "01" {
			sampled++
		}
	}
	within(t, "sampled", sampled, n, 0.5)
	for range 20 {
		if tp := saw("traceparent: 00-" + trace + "-a2fb4a1d1a96d312-00").Get("x-saw-traceparent"); !strings.HasPrefix(tp, "00-"+trace) || !strings.HasSuffix(tp, "-00") {
			t.Fatalf("not sampled by the caller: traceparent %q", tp)
		}
	}
	if r.collector != nil {
		envoytest.Await(t, 20*time.Second, "a span for each trace sampled", func() bool { return r.collector.spans() >= sampled })
	}
	if r.collector != nil && !r.host.native {
		envoytest.Await(t, 20*time.Second, "spans are counted", func() bool {
			saw("traceparent: 00-" + trace + "-a2fb4a1d1a96d312-00") // Envoy takes the module's counts from streams only
			return r.count(t, "trace_spans_exported_total") == int64(r.collector.spans())
		})
	}
	if !r.host.native {
		envoytest.Await(t, 10*time.Second, "contexts are counted", func() bool { return r.count(t, "trace_contexts_total", "new", ".*") >= n })
	}
	r.Stop()
	if !strings.Contains(r.Log(), "GET / 200 trace="+trace) {
		t.Error("the access log lacks the trace id")
	}
}

func chainPromises(t *testing.T, r *running) {
	a := r.Get(t, ingress, "/", "x-user: eve")
	if a.Status != 200 || a.Body != "v1\n" || a.Header.Get("x-canary") != "everyone/v1" ||
		a.Header.Get("x-ratelimit-remaining") != "4" || len(a.Header.Get("x-saw-traceparent")) != 55 {
		t.Errorf("first request: %+v", a)
	}
	for range 4 {
		a := r.Get(t, ingress, "/", "x-user: eve", "x-group: testers")
		if a.Status != 200 || a.Body != "v2\n" || a.Header.Get("x-canary") != "testers/v2" || a.Took < 500*time.Millisecond-r.early() {
			t.Errorf("tester: %+v", a)
		}
	}
	if a := r.Get(t, ingress, "/", "x-user: eve", "x-group: testers"); a.Status != 429 {
		t.Errorf("the sixth: %+v", a)
	}
	for range 10 {
		if a := r.Get(t, ingress, "/free", "x-user: eve"); a.Status != 200 {
			t.Errorf("/free: %+v", a)
		}
	}
	want := []string{"/ 200 user=eve canary=everyone/v1 fault=- limit=- trace=", "429 user=eve canary=testers/v2 fault=- limit=per-user trace=",
		"/ 200 user=eve canary=testers/v2 fault=v2-is-slow: delay 500ms limit=- trace="}
	if r.host.native {
		want = []string{"/ 200 - user=eve trace=", "/ 200 DI user=eve trace=", "/ 429 RL user=eve trace="}
		envoytest.Await(t, 20*time.Second, "spans", func() bool { return r.collector.spans() > 0 })
	}
	if r.host.folder == "wasm" {
		prometheus(t, r)
	}
	r.Stop()
	for _, w := range want {
		if !strings.Contains(r.Log(), w) {
			t.Errorf("the access log lacks %q:\n%s", w, r.Log())
		}
	}
}

// prometheus sees the labels that a wasm module's metrics have in their names.
func prometheus(t *testing.T, r *running) {
	t.Helper()
	page := r.Do(t, envoytest.NewRequest(t, http.MethodGet, "http://"+r.Admin()+"/stats/prometheus", "")).Body
	for _, want := range []string{
		`mizzen_canary_decisions_total{rule="testers",destination="v2",sticky="off"} 6`,
		`mizzen_ratelimit_requests_total{limit="per-user",result="limited",scope="local"} 3`,
		`mizzen_fault_delays_total{rule="v2-is-slow"} 5`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("Prometheus does not see %s", want)
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
