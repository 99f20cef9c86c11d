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

// Both draws are made for themselves: 50 % and 50 % give 25 % of each combination, within 4 sigma.
func TestDrawsAreIndependent(t *testing.T) {
	for _, key := range []string{"", `,"key":{"header":"x-user"}`} {
		const n = 40_000
		r := runner(t, `{"rules":[{"name":"r","delay":{"percentage":50,"fixed":"1s"},"abort":{"percentage":50,"httpStatus":503}`+key+`}]}`)
		counts := map[string]int{}
		for i := range n {
			res := r.Do(fmt.Sprintf("x-user: %d", i))
			counts[fmt.Sprint(res.Waited > 0, res.Reply != nil)]++
		}
		for _, k := range []string{"true true", "true false", "false true", "false false"} {
			if math.Abs(float64(counts[k])-n/4) > 4*math.Sqrt(n*0.25*0.75) {
				t.Errorf("key %q: %v", key, counts)
				break
			}
		}
		if r.Host.Counted(fault.MetricDelays, "r") != int64(counts["true true"]+counts["true false"]) || r.Host.Counted(fault.MetricAborts, "r") != int64(counts["true true"]+counts["false true"]) {
			t.Errorf("counters differ from %v", counts)
		}
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

func BenchmarkPassThrough(b *testing.B) {
	p := newPolicy(b, filtertest.Env(), `{"rules":[{"name":"r","match":[{"headers":[{"name":"x-user","exact":"ann"}]}],"delay":{"percentage":50,"fixed":"1s"}},
	 {"name":"all","abort":{"percentage":0.001,"httpStatus":503}}]}`)
	x := filtertest.NewExchange("accept: */*", "user-agent: curl")
	b.ReportAllocs()
	for b.Loop() {
		p.Request(x)
	}
}
