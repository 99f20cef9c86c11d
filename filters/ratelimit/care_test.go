package ratelimit

import (
	"fmt"
	"math"
	"strings"
	"testing"

	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// Each limit says for itself what holds while the service is away.
func TestOnErrorOfEachLimit(t *testing.T) {
	r, f := globalRunner(t, `{"global":{"cluster":"rls","onError":"allow"},"limits":[
		{"name":"counts","requests":4,"per":"1m","scope":"global","onError":"local","localShare":0.5,"match":[{"path":{"prefix":"/c"}}]},
		{"name":"denies","requests":4,"per":"1m","scope":"global","onError":"deny","match":[{"path":{"prefix":"/d"}}]},
		{"name":"watches","requests":1,"per":"1m","scope":"global","onError":"deny","action":"shadow","match":[{"path":{"prefix":"/w"}}]},
		{"name":"allows","requests":1,"per":"1m","scope":"global","match":[{"path":{"prefix":"/a"}}]}]}`)
	f.broken = &filter.Answer{Err: "reset"}
	for path, want := range map[string]string{
		"/c": "200 200 429", "/d": "503 503 503", "/w": "200 200 200", "/a": "200 200 200", "/else": "200 200 200",
	} {
		got := []string{r.Do(":path: " + path).Status(), r.Do(":path: " + path).Status(), r.Do(":path: " + path).Status()}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", path, s, want)
		}
	}
	if got := r.Host.Annotations["ratelimit_service"]; got != "away, not asked" {
		t.Errorf("the access log is told %q", got)
	}
}

// A service that has not heard of a limit yet is not away: the proxy's share decides, even under deny.
func TestGlobalUnknownLimit(t *testing.T) {
	r, f := globalRunner(t, `{"global":{"cluster":"rls","onError":"deny","localShare":0.5},"limits":[
		{"name":"new","requests":4,"per":"1m","scope":"global"},{"name":"known","requests":9,"per":"1m","scope":"global"}]}`)
	f.broken = &filter.Answer{Headers: []filter.Header{{Name: ":status", Value: "200"}}, Body: frame(marshal(t, &rlsv3.RateLimitResponse{
		OverallCode: rlsv3.RateLimitResponse_OK, Statuses: []*rlsv3.RateLimitResponse_DescriptorStatus{
			{Code: rlsv3.RateLimitResponse_UNKNOWN}, {Code: rlsv3.RateLimitResponse_OK, LimitRemaining: 8}},
	}))}
	if n := passes(r, 6); n != 2 {
		t.Errorf("%d of 6 passed, want the share, 2", n)
	}
	if len(f.asked) != 6 {
		t.Errorf("asked %d times, want 6: it is not away", len(f.asked))
	}
	if n := r.Host.Counted(metricService, "unknown"); n != 6 {
		t.Errorf("unknown counted %d; %q", n, r.Host.Series())
	}
	if got := r.Host.Annotations["ratelimit_service"]; got != "limit new is unknown" {
		t.Errorf("the access log is told %q", got)
	}
}

// A route that overlays its listener's limits asks the listener's service, and a listener that comes later is heard.
func TestRouteInheritsTheService(t *testing.T) {
	parse := func(env *filter.Env, s string) filter.Policy {
		t.Helper()
		c, err := ParseConfig([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(c, env)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	env := filtertest.Env()
	const limits = `"limits":[{"name":"g","requests":4,"per":"1m","scope":"global"}]`
	f := &fakeRLS{t: t, seen: map[string]int{}}
	route := parse(env, `{`+limits+`}`)
	base := parse(env, `{"global":{"cluster":"rls"},"limits":[]}`)
	r := &filtertest.Runner{Base: filtertest.Single("ratelimit", base), Route: func(*filter.Headers) (string, *filter.Program) { return "r", filtertest.Single("ratelimit", route) },
		Answer: f.answer, Clock: filtertest.NewClock(), Host: &filtertest.Host{}}
	if n := passes(r, 4); n != 2 || len(f.asked) != 3 {
		t.Errorf("%d passed, asked %d times: want the service's 2, and 3", n, len(f.asked))
	}
	if a, b := filter.Inherit(route, base), filter.Inherit(route, base); a != b {
		t.Error("a policy is made anew for every request")
	}
	other := parse(env, `{"global":{"cluster":"elsewhere"},"limits":[]}`)
	if p := filter.Inherit(route, other).(*Policy); p.global.cluster != "elsewhere" {
		t.Errorf("asks %s", p.global.cluster)
	}
	own := parse(env, `{"global":{"cluster":"own"},`+limits+`}`)
	if filter.Inherit(own, base) != own {
		t.Error("a route's own service is not kept")
	}
	local := parse(env, `{"limits":[{"name":"l","requests":4,"per":"1m"}]}`)
	if filter.Inherit(local, base) != local {
		t.Error("a route without global limits is not left alone")
	}
}

// A limit that is enabled, or enforced, for a part of the requests only. 4 sigma; the draws are seeded.
func TestFractions(t *testing.T) {
	const n, p = 4000, 0.25
	near := func(what string, got int64) {
		t.Helper()
		if d := math.Abs(float64(got) - n*p); d > 4*math.Sqrt(n*p*(1-p)) {
			t.Errorf("%s: %d of %d, want %v", what, got, n, p)
		}
	}
	conf := func(more string) Config {
		c, err := ParseConfig([]byte(`{"limits":[{"name":"l","requests":1,"per":"1h",` + more + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	run := func(more string) (refused int64, host *filtertest.Host) {
		r := newRunner(t, conf(more), filtertest.Env())
		r.Rand = filtertest.Rand(7)
		r.Do()
		return int64(n - passes(r, n)), r.Host
	}
	refused, _ := run(`"enabled":25`)
	near("refused of those enabled", refused)
	refused, host := run(`"enforced":25`)
	near("refused of those over", refused)
	if shadow := host.Counted(metricRequests, "l", "shadow_limited", "local"); shadow != n-refused {
		t.Errorf("%d counted as shadow, want %d", shadow, n-refused)
	}
	if refused, host = run(`"enabled":0`); refused != 0 || len(host.Series()) != 0 {
		t.Errorf("not enabled: %d refused, %q", refused, host.Series())
	}
	if refused, _ = run(`"enforced":0`); refused != 0 {
		t.Errorf("not enforced: %d refused", refused)
	}
}

// One draw for an exchange: what was not enabled when the service was asked is not when its share decides.
func TestOneDrawForAnExchange(t *testing.T) {
	r, f := globalRunner(t, `{"global":{"cluster":"rls"},"limits":[{"name":"g","requests":1,"per":"1h","scope":"global","enabled":50}]}`)
	r.Rand = filtertest.Rand(3)
	f.broken = &filter.Answer{Err: "reset"}
	const n = 400
	passed := passes(r, n)
	if math.Abs(float64(passed)-n/2) > 4*math.Sqrt(n)/2 {
		t.Errorf("%d of %d passed, want half", passed, n)
	}
}

func TestOverrideInShadowAndQuietLimit(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "l", Key: byHeader("x-user"), Requests: 1, Per: minute, Headers: HeadersOff,
		Overrides: []Override{{Key: []string{"tester"}, Requests: 1, Per: minute, Action: ActionShadow}}}}}, filtertest.Env())
	if n := passes(r, 4, "x-user: tester"); n != 4 {
		t.Errorf("%d of 4 passed in shadow", n)
	}
	if n := r.Host.Counted(metricRequests, "l", "shadow_limited", "local"); n != 3 {
		t.Errorf("shadow_limited counted %d", n)
	}
	first, second := r.Do("x-user: ann"), r.Do("x-user: ann")
	if first.Response.Value("x-ratelimit-limit") != "" || second.Response.Value("x-ratelimit-limit") != "" || second.Response.Value("retry-after") == "" {
		t.Errorf("a quiet limit tells %v, %v", first.Response.All(), second.Response.All())
	}
}

// n proxies with share 1/n let the whole limit pass, for every algorithm.
func TestLocalShares(t *testing.T) {
	for _, algorithm := range []string{AlgorithmGCRA, AlgorithmTokenBucket, AlgorithmSlidingWindow} {
		for _, n := range []int{1, 2, 3, 7, 49} {
			t.Run(fmt.Sprint(algorithm, n), func(t *testing.T) {
				sum := 0
				for range n {
					r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 98, Per: minute, Algorithm: algorithm, LocalShare: 1 / float64(n)}}}, filtertest.Env())
					sum += passes(r, 200)
				}
				if sum > 98 || sum < 98-n {
					t.Errorf("%d passed", sum)
				}
			})
		}
	}
	r := newRunner(t, Config{Limits: []Limit{{Name: "l", Concurrency: 10, LocalShare: 1. / 3}}}, filtertest.Env())
	if b := r.Base.Policies[0].(*Policy).limits[0].num.burst; b != 3 {
		t.Errorf("a third of 10 places is %d", b)
	}
}
