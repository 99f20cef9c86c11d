package fault_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func newPolicy(t testing.TB, env *filter.Env, config string) filter.Policy {
	t.Helper()
	c, err := fault.ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := fault.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runner(t testing.TB, config string) *filtertest.Runner {
	return &filtertest.Runner{Base: filtertest.Single("fault", newPolicy(t, filtertest.Env(), config)), Rand: filtertest.Rand(3), Host: &filtertest.Host{}}
}

func TestOneRequest(t *testing.T) {
	for _, c := range []struct {
		name, config string
		headers      []string
		status       string
		waited       time.Duration
		log          string
		flags        []string
	}{
		{"delay", `{"rules":[{"name":"r","delay":{"percentage":100,"fixed":"10s"}}]}`, nil, "200", 10 * time.Second, "r: delay 10s", []string{"DI"}},
		{"abort", `{"rules":[{"name":"r","abort":{"percentage":100,"httpStatus":503}}]}`, nil, "503", 0, "r: abort 503", []string{"FI"}},
		{"delay, then abort", `{"rules":[{"name":"r","delay":{"percentage":100,"fixed":"2s"},"abort":{"percentage":100,"httpStatus":500}}]}`, nil, "500", 2 * time.Second, "r: delay 2s, abort 500", []string{"DI", "FI"}},
		{"never", `{"rules":[{"name":"r","delay":{"percentage":0,"fixed":"2s"},"abort":{"percentage":0,"httpStatus":500}}]}`, nil, "200", 0, "", nil},
		{"a rule without a name", `{"rules":[{"abort":{"percentage":100,"httpStatus":418}}]}`, nil, "418", 0, "0: abort 418", []string{"FI"}},
		{"gRPC abort of a gRPC call", `{"rules":[{"name":"r","abort":{"percentage":100,"grpcStatus":14}}]}`, []string{"content-type: application/grpc"}, "200", 0, "r: abort grpc 14", []string{"FI"}},
		{"gRPC abort of a plain request", `{"rules":[{"name":"r","abort":{"percentage":100,"grpcStatus":14}}]}`, nil, "503", 0, "r: abort grpc 14", []string{"FI"}},
		{"match", `{"rules":[{"name":"r","match":[{"headers":[{"name":"x-user","exact":"ann"}]}],"abort":{"percentage":100,"httpStatus":503}}]}`, []string{"x-user: ann"}, "503", 0, "r: abort 503", []string{"FI"}},
		{"no match", `{"rules":[{"name":"r","match":[{"headers":[{"name":"x-user","exact":"ann"}]}],"abort":{"percentage":100,"httpStatus":503}}]}`, []string{"x-user: bob"}, "200", 0, "", nil},
		{"the first rule that matches", `{"rules":[{"name":"a","match":[{"path":{"prefix":"/x"}}],"abort":{"percentage":100,"httpStatus":501}},{"name":"b","abort":{"percentage":0,"httpStatus":502}},{"name":"c","abort":{"percentage":100,"httpStatus":503}}]}`, nil, "200", 0, "", nil},
		{"after the response", `{"rules":[{"name":"r","abort":{"percentage":100,"httpStatus":503,"afterResponse":true}}]}`, nil, "503", 0, "r: abort 503", []string{"FI"}},
		{"rate", `{"rules":[{"name":"r","responseRate":{"percentage":100,"kibPerSecond":64}}]}`, nil, "200", 0, "r: rate 64 KiB/s", nil},
		{"rate that never hits", `{"rules":[{"name":"r","responseRate":{"percentage":0,"kibPerSecond":64}}]}`, nil, "200", 0, "", nil},
		{"delay and rate", `{"rules":[{"name":"r","delay":{"percentage":100,"fixed":"1s"},"responseRate":{"percentage":100,"kibPerSecond":64}}]}`, nil, "200", time.Second, "r: delay 1s, rate 64 KiB/s", []string{"DI"}},
		{"an abort leaves nothing to throttle", `{"rules":[{"name":"r","abort":{"percentage":100,"httpStatus":503},"responseRate":{"percentage":100,"kibPerSecond":64}}]}`, nil, "503", 0, "r: abort 503", []string{"FI"}},
		{"rate, and an abort after the response", `{"rules":[{"name":"r","abort":{"percentage":100,"httpStatus":503,"afterResponse":true},"responseRate":{"percentage":100,"kibPerSecond":64}}]}`, nil, "503", 0, "r: rate 64 KiB/s, abort 503", []string{"FI"}},
		{"delay, and after the response", `{"rules":[{"name":"r","delay":{"percentage":100,"fixed":"1s"},"abort":{"percentage":100,"httpStatus":503,"afterResponse":true}}]}`, nil, "503", time.Second, "r: delay 1s, abort 503", []string{"DI", "FI"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := runner(t, c.config).Do(c.headers...)
			if res.Status() != c.status || res.Waited != c.waited {
				t.Errorf("status %s after %v", res.Status(), res.Waited)
			}
			if got := res.Host.Annotations["fault"]; got != c.log {
				t.Errorf("log %q, want %q", got, c.log)
			}
			if !slices.Equal(res.Host.Flags, c.flags) {
				t.Errorf("flags %v, want %v", res.Host.Flags, c.flags)
			}
			if reached, after := res.Request != nil, strings.Contains(c.config, "afterResponse"); reached != (res.Reply == nil || after) {
				t.Errorf("reached the upstream: %v", reached)
			}
			if res.Reply != nil && (res.Reply.Details != "mizzen_fault_abort" || res.Reply.Body != "fault filter abort") {
				t.Errorf("reply %+v", res.Reply)
			}
			if n := res.Host.Counted(fault.MetricActive); n != 0 {
				t.Errorf("%d faults still in progress", n)
			}
		})
	}
}

// Every draw is made for itself: 50 % each give an eighth of each combination, within 4 sigma. The abort comes after the
// response, so that all three can be seen.
func TestDrawsAreIndependent(t *testing.T) {
	for _, key := range []string{"", `,"key":{"header":"x-user"}`} {
		const n = 40_000
		r := runner(t, `{"rules":[{"name":"r","delay":{"percentage":50,"fixed":"1s"},"abort":{"percentage":50,"httpStatus":503,"afterResponse":true},"responseRate":{"percentage":50,"kibPerSecond":8}`+key+`}]}`)
		counts, each := map[string]int{}, [3]int64{}
		for i := range n {
			res := r.Do(fmt.Sprintf("x-user: %d", i))
			hit := [3]bool{res.Waited > 0, res.Reply != nil, res.Request.Value(fault.ThroughputHeader) != ""}
			counts[fmt.Sprint(hit)]++
			for i := range hit {
				if hit[i] {
					each[i]++
				}
			}
		}
		for k, got := range counts {
			if math.Abs(float64(got)-n/8) > 4*math.Sqrt(n*0.125*0.875) {
				t.Errorf("key %q: %d are %s in %v", key, got, k, counts)
			}
		}
		counted := [3]int64{r.Host.Counted(fault.MetricDelays, "r"), r.Host.Counted(fault.MetricAborts, "r"), r.Host.Counted(fault.MetricRates, "r")}
		if len(counts) != 8 || counted != each {
			t.Errorf("%d combinations; counters say %v, the responses %v", len(counts), counted, each)
		}
	}
}

// Envoy's own filter obeys two headers: what the client sends of them never gets there, and a request that is throttled
// tells it one number.
func TestThroughputHeader(t *testing.T) {
	const asks = "x-envoy-fault-throughput-response: 7"
	rule := func(s string) string { return `{"allowHeaders":true,"rules":[` + s + `]}` }
	for _, c := range []struct {
		name, config string
		headers      []string
		want         string
	}{
		{"the rule's", `{"rules":[{"responseRate":{"percentage":100,"kibPerSecond":64}}]}`, nil, "64"},
		{"not the client's", `{"rules":[{"responseRate":{"percentage":100,"kibPerSecond":64}}]}`, []string{asks}, "64"},
		{"not the client's when none is drawn", `{"rules":[{"responseRate":{"percentage":0,"kibPerSecond":64}}]}`, []string{asks}, ""},
		{"not the client's when no rule matches", `{"rules":[{"match":[{"path":{"exact":"/x"}}],"responseRate":{"percentage":0,"kibPerSecond":64}}]}`, []string{asks}, ""},
		{"left alone where no rate is configured", `{"rules":[{"delay":{"percentage":0,"fixed":"1s"}}]}`, []string{asks}, "7"},
		{"allowed", rule(`{"responseRate":{"percentage":100}}`), []string{asks}, "7"},
		{"allowed, nothing asked", rule(`{"responseRate":{"percentage":100}}`), nil, ""},
		{"before the rule's own", rule(`{"responseRate":{"percentage":100,"kibPerSecond":64}}`), []string{asks}, "7"},
		{"allowed, the rule has none", rule(`{"delay":{"percentage":100}}`), []string{asks}, ""},
		{"the rule's percentage is the most", rule(`{"responseRate":{"percentage":0}}`), []string{asks, "x-envoy-fault-throughput-response-percentage: 100"}, ""},
		{"a lower percentage", rule(`{"responseRate":{"percentage":100}}`), []string{asks, "x-envoy-fault-throughput-response-percentage: 0"}, ""},
		{"zero", rule(`{"responseRate":{"percentage":100}}`), []string{"x-envoy-fault-throughput-response: 0"}, ""},
		{"nonsense, so the rule's own", rule(`{"responseRate":{"percentage":100,"kibPerSecond":64}}`), []string{"x-envoy-fault-throughput-response: -1"}, "64"},
		{"beyond any Envoy", rule(`{"responseRate":{"percentage":100}}`), []string{"x-envoy-fault-throughput-response: 18446744073709551615"}, "1073741824"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := runner(t, c.config).Do(c.headers...)
			if got := res.Request.Value(fault.ThroughputHeader); got != c.want {
				t.Errorf("Envoy's filter is told %q, want %q", got, c.want)
			}
			if c.want != "7" || strings.Contains(c.config, "allowHeaders") {
				if got, ok := res.Request.Get(fault.ThroughputHeader + "-percentage"); ok {
					t.Errorf("Envoy's filter is told a percentage, %q", got)
				}
			}
			if n := res.Host.Counted(fault.MetricActive); n != 0 {
				t.Errorf("%d faults still in progress", n)
			}
		})
	}
}

// A throttled response is a fault in progress until it is over.
func TestThrottledResponsesAreActive(t *testing.T) {
	r := runner(t, `{"maxActive":1,"rules":[{"name":"r","responseRate":{"percentage":100,"kibPerSecond":1}}]}`)
	outer, inner := "", ""
	r.Upstream = func(h *filter.Headers) []filter.Header {
		outer = h.Value(fault.ThroughputHeader)
		r.Upstream = func(h *filter.Headers) []filter.Header {
			inner = h.Value(fault.ThroughputHeader)
			return []filter.Header{{Name: ":status", Value: "200"}}
		}
		r.Do()
		return []filter.Header{{Name: ":status", Value: "200"}}
	}
	r.Do()
	if outer != "1" || inner != "" || r.Host.Counted(fault.MetricOverflow) != 1 || r.Host.Counted(fault.MetricActive) != 0 || r.Host.Counted(fault.MetricRates, "r") != 1 {
		t.Errorf("rates %q and %q meanwhile, counters %v", outer, inner, r.Host.Counts())
	}
}

func TestMetadata(t *testing.T) {
	r := runner(t, `{"rules":[{"name":"r","match":[{"path":{"exact":"/"}}],"metadata":{"owner":"team-a","ticket":"OPS-1"},"abort":{"percentage":100,"httpStatus":503}},
	 {"name":"never","metadata":{"owner":"team-b"},"abort":{"percentage":0,"httpStatus":503}}]}`)
	if got := r.Do().Host.Annotations; got["fault.owner"] != "team-a" || got["fault.ticket"] != "OPS-1" {
		t.Errorf("annotations %v", got)
	}
	r.Host = &filtertest.Host{}
	if got := r.Do(":path: /other").Host.Annotations; len(got) != 0 {
		t.Errorf("no fault was injected, but annotations are %v", got)
	}
}

func TestSmallPercentage(t *testing.T) {
	const n = 1_000_000
	p := newPolicy(t, filtertest.Env(), `{"rules":[{"name":"r","abort":{"percentage":0.01,"httpStatus":503}}]}`)
	x := filtertest.NewExchange()
	hits := 0
	for range n {
		if p.Request(x).Reply != nil {
			hits++
		}
	}
	if math.Abs(float64(hits)-100) > 40 {
		t.Errorf("%d of %d at 0.01 %%, sigma is 10", hits, n)
	}
}

// With a key the same user is always or never hit, and a growing percentage only adds users.
func TestDeterministicByKey(t *testing.T) {
	hit := map[string]bool{}
	for _, percent := range []int{5, 20, 60} {
		r := runner(t, fmt.Sprintf(`{"rules":[{"name":"r","key":{"header":"x-user"},"abort":{"percentage":%d,"httpStatus":503}}]}`, percent))
		n := 0
		for i := range 2000 {
			user := fmt.Sprintf("x-user: %d", i)
			got := r.Do(user).Reply != nil
			if again := r.Do(user).Reply != nil; again != got {
				t.Fatalf("%s is hit now and then", user)
			}
			if hit[user] && !got {
				t.Fatalf("%s is not hit any more at %d %%", user, percent)
			}
			if hit[user] = got; got {
				n++
			}
		}
		p := float64(percent) / 100
		if math.Abs(float64(n)-2000*p) > 4*math.Sqrt(2000*p*(1-p)) {
			t.Errorf("%d of 2000 users at %d %%", n, percent)
		}
	}
}

func TestSchedule(t *testing.T) {
	clock := filtertest.NewClock()
	r := runner(t, `{"rules":[{"name":"r","from":"2026-01-01T01:00:00Z","until":"2026-01-01T02:00:00Z","abort":{"percentage":100,"httpStatus":503}},
	 {"name":"else","abort":{"percentage":100,"httpStatus":500}}]}`)
	r.Clock = clock
	for _, c := range []struct {
		advance time.Duration
		status  string
	}{{0, "500"}, {time.Hour - 1, "500"}, {1, "503"}, {time.Hour - 1, "503"}, {1, "500"}} {
		clock.Advance(c.advance)
		if res := r.Do(); res.Status() != c.status {
			t.Errorf("%v: %s, want %s", clock.Now(), res.Status(), c.status)
		}
	}
}

func TestHeaderControlled(t *testing.T) {
	const config = `{"allowHeaders":true,"rules":[{"name":"r","delay":{"percentage":100},"abort":{"percentage":100}}]}`
	for _, c := range []struct {
		name, config string
		headers      []string
		status       string
		waited       time.Duration
	}{
		{"delay", config, []string{"x-envoy-fault-delay-request: 1500"}, "200", 1500 * time.Millisecond},
		{"abort", config, []string{"x-envoy-fault-abort-request: 418"}, "418", 0},
		{"gRPC abort", config, []string{"x-envoy-fault-abort-grpc-request: 5"}, "404", 0},
		{"HTTP before gRPC", config, []string{"x-envoy-fault-abort-grpc-request: 5", "x-envoy-fault-abort-request: 500"}, "500", 0},
		{"percentage 0", config, []string{"x-envoy-fault-abort-request: 500", "x-envoy-fault-abort-request-percentage: 0"}, "200", 0},
		{"delay percentage 0", config, []string{"x-envoy-fault-delay-request: 500", "x-envoy-fault-delay-request-percentage: 0"}, "200", 0},
		{"nothing asked", config, nil, "200", 0},
		{"nonsense", config, []string{"x-envoy-fault-delay-request: -1", "x-envoy-fault-abort-request: 99", "x-envoy-fault-abort-grpc-request: 17"}, "200", 0},
		{"not above the rule", strings.ReplaceAll(config, "100", "0"), []string{"x-envoy-fault-abort-request: 500", "x-envoy-fault-abort-request-percentage: 100"}, "200", 0},
		{"before the rule's own", `{"allowHeaders":true,"rules":[{"delay":{"percentage":100,"fixed":"9s"}}]}`, []string{"x-envoy-fault-delay-request: 10"}, "200", 10 * time.Millisecond},
		{"no rule for it", `{"allowHeaders":true,"rules":[{"delay":{"percentage":100}}]}`, []string{"x-envoy-fault-abort-request: 500"}, "200", 0},
		{"off by default", `{"rules":[{"delay":{"percentage":100,"fixed":"1s"}}]}`, []string{"x-envoy-fault-delay-request: 10", "x-envoy-fault-abort-request: 500"}, "200", time.Second},
	} {
		res := runner(t, c.config).Do(c.headers...)
		if res.Status() != c.status || res.Waited != c.waited {
			t.Errorf("%s: %s after %v, want %s after %v", c.name, res.Status(), res.Waited, c.status, c.waited)
		}
	}
}

func TestMaxActive(t *testing.T) {
	env := filtertest.Env()
	const config = `{"maxActive":2,"rules":[{"name":"r","delay":{"percentage":100,"fixed":"5s"},"abort":{"percentage":100,"httpStatus":503}}]}`
	base := filtertest.Single("fault", newPolicy(t, env, config))
	// A second policy of the process, say of another route, shares the places.
	other := filtertest.Single("fault", newPolicy(t, env, config))
	host := &filtertest.Host{}
	runs := []*filter.Run{}
	begin := func(p *filter.Program) filter.Verdict {
		r := &filter.Run{Exchange: *filtertest.NewExchange()}
		r.Exchange.Host = host
		runs = append(runs, r)
		return r.Request(p, nil)
	}
	if begin(base).Wait == 0 || begin(other).Wait == 0 {
		t.Fatal("the first two are not delayed")
	}
	if v := begin(base); v.Wait != 0 || v.Reply != nil {
		t.Fatalf("the third gets %+v", v)
	}
	if n, over := host.Counted(fault.MetricActive), host.Counted(fault.MetricOverflow); n != 2 || over != 1 {
		t.Fatalf("%d active, %d overflowed", n, over)
	}
	runs[0].End(base) // the client goes away during the delay
	if v := begin(base); v.Wait == 0 {
		t.Fatal("the place of a client that went away is not free")
	}
	runs[1].Resume(nil)
	if v := runs[1].Request(other, nil); v.Reply == nil {
		t.Fatalf("after the delay: %+v", v)
	}
	runs[1].End(other)
	if n := host.Counted(fault.MetricActive); n != 1 {
		t.Fatalf("%d active, want 1", n)
	}
}

func TestClientGoesAwayDuringTheDelay(t *testing.T) {
	r := runner(t, `{"rules":[{"name":"r","delay":{"percentage":100,"fixed":"5s"}}]}`)
	r.Patience = time.Second
	if res := r.Do(); res.Response != nil || res.Waited != time.Second || res.Host.Counted(fault.MetricActive) != 0 {
		t.Errorf("%+v, counters %v", res, res.Host.Series())
	}
}

func TestPassThroughAllocatesNothing(t *testing.T) {
	p := newPolicy(t, filtertest.Env(), `{"rules":[{"name":"r","delay":{"percentage":0.01,"fixed":"1s"}}]}`)
	x := filtertest.NewExchange()
	if n := testing.AllocsPerRun(10, func() { p.Request(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPassThroughRate(b *testing.B) {
	p := newPolicy(b, filtertest.Env(), `{"rules":[{"name":"all","responseRate":{"percentage":0.001,"kibPerSecond":64}}]}`)
	x := filtertest.NewExchange("accept: */*", "user-agent: curl")
	b.ReportAllocs()
	for b.Loop() {
		p.Request(x)
	}
}

func BenchmarkPassThrough(b *testing.B) {
	p := newPolicy(b, filtertest.Env(), `{"rules":[{"name":"r","match":[{"headers":[{"name":"x-user","exact":"ann"}]}],"delay":{"percentage":50,"fixed":"1s"}},
	 {"name":"all","abort":{"percentage":0.001,"httpStatus":503}}]}`)
	x := filtertest.NewExchange("accept: */*", "user-agent: curl")
	b.ReportAllocs()
	for b.Loop() {
		p.Request(x)
	}
}
