package ratelimit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

const minute = filter.Duration(time.Minute)

func byHeader(names ...string) (key []match.Key) {
	for _, n := range names {
		key = append(key, match.Key{Header: n})
	}
	return key
}

// newRunner makes a runner around a policy with a clock and a host that live on.
func newRunner(t *testing.T, c Config, env *filter.Env) *filtertest.Runner {
	t.Helper()
	p, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return &filtertest.Runner{
		Base:  filtertest.Single("ratelimit", p),
		Clock: filtertest.NewClock(),
		Host:  &filtertest.Host{},
	}
}

// passes sends up to n requests at one moment and returns how many pass.
func passes(r *filtertest.Runner, n int, headers ...string) (passed int) {
	for range n {
		if r.Do(headers...).Reply == nil {
			passed++
		}
	}
	return passed
}

func TestAlgorithms(t *testing.T) {
	type step struct {
		after time.Duration // since the step before
		send  int
		want  int
	}
	for _, c := range []struct {
		name  string
		limit Limit
		steps []step
	}{
		{"gcra passes the burst, then one each interval", Limit{Requests: 10, Per: minute},
			[]step{{0, 20, 10}, {5 * time.Second, 5, 0}, {time.Second, 5, 1}, {12 * time.Second, 5, 2}, {time.Hour, 20, 10}}},
		{"gcra with a small burst", Limit{Requests: 60, Per: minute, Burst: 2},
			[]step{{0, 5, 2}, {time.Second, 5, 1}, {10 * time.Second, 5, 2}}},
		{"gcra with a large burst", Limit{Requests: 1, Per: filter.Duration(time.Second), Burst: 5},
			[]step{{0, 9, 5}, {3 * time.Second, 9, 3}}},
		{"token bucket fills whole", Limit{Requests: 10, Per: minute, Algorithm: AlgorithmTokenBucket},
			[]step{{0, 20, 10}, {59 * time.Second, 5, 0}, {time.Second, 20, 10}, {time.Hour, 20, 10}}},
		{"token bucket holds its burst", Limit{Requests: 2, Per: minute, Burst: 5, Algorithm: AlgorithmTokenBucket},
			[]step{{0, 9, 5}, {time.Minute, 9, 2}, {2 * time.Minute, 9, 4}, {time.Hour, 9, 5}}},
		{"sliding window forgets a request when it leaves the window", Limit{Requests: 4, Per: minute, Algorithm: AlgorithmSlidingWindow},
			[]step{{0, 2, 2}, {30 * time.Second, 9, 2}, {29 * time.Second, 9, 0}, {5 * time.Second, 9, 2}, {27 * time.Second, 9, 0},
				{4 * time.Second, 9, 2}, {time.Hour, 9, 4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.limit.Name = "l"
			r := newRunner(t, Config{Limits: []Limit{c.limit}}, filtertest.Env())
			for i, s := range c.steps {
				r.Clock.Advance(s.after)
				if got := passes(r, s.send); got != s.want {
					t.Errorf("step %d: %d of %d passed, want %d", i, got, s.send, s.want)
				}
			}
		})
	}
}

// TestNeverMoreThanAllowed sends at random times and checks every window of the traffic that passed.
func TestNeverMoreThanAllowed(t *testing.T) {
	const per = 10 * time.Second
	for _, c := range []struct {
		algorithm string
		burst     uint32
		most      int // in any window of length per
	}{
		{AlgorithmGCRA, 3, 3 + 7},
		{AlgorithmTokenBucket, 9, 9 + 7},
		{AlgorithmSlidingWindow, 0, 7},
	} {
		t.Run(c.algorithm, func(t *testing.T) {
			r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 7, Per: filter.Duration(per),
				Burst: c.burst, Algorithm: c.algorithm}}}, filtertest.Env())
			rnd := filtertest.Rand(7)
			var passed []time.Time
			most, total := 0, 0
			for range 20_000 {
				r.Clock.Advance(time.Duration(rnd.Uint64() % uint64(time.Second)))
				if rnd.Uint64()%100 == 0 {
					r.Clock.Advance(time.Duration(rnd.Uint64() % uint64(30*time.Second)))
				}
				if r.Do().Reply != nil {
					continue
				}
				total++
				now := r.Clock.Now()
				passed = append(passed, now)
				passed = slices.DeleteFunc(passed, func(p time.Time) bool { return now.Sub(p) >= per })
				most = max(most, len(passed))
			}
			if most > c.most {
				t.Errorf("%d passed within %s, want at most %d", most, per, c.most)
			}
			if total < 4000 {
				t.Errorf("only %d passed: the limiter refuses too much", total)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "per-user", Requests: 10, Per: minute}}}, filtertest.Env())
	passes(r, 10)
	r.Clock.Advance(500 * time.Millisecond)
	res := r.Do()
	for name, want := range map[string]string{
		":status": "429", "retry-after": "6", "x-ratelimit-limit": "10, 10;w=60",
		"x-ratelimit-remaining": "0", "x-ratelimit-reset": "6",
	} {
		if got := res.Response.Value(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if res.Reply.Details != "mizzen_rate_limited" || !slices.Equal(res.Host.Flags, []string{"RL"}) {
		t.Errorf("details %q, flags %q", res.Reply.Details, res.Host.Flags)
	}
	if got := res.Host.Annotations["ratelimit"]; got != "per-user" {
		t.Errorf("annotation %q", got)
	}
	if ok, limited := r.Host.Counted(metricRequests, "per-user", "ok", "local"),
		r.Host.Counted(metricRequests, "per-user", "limited", "local"); ok != 10 || limited != 1 {
		t.Errorf("counted ok %d, limited %d; want 10, 1", ok, limited)
	}
}

func TestRefusalOfGRPCAndOwnStatus(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 1, Per: minute, Status: 503}}}, filtertest.Env())
	passes(r, 1)
	res := r.Do("content-type: application/grpc")
	if got := res.Response; got.Value(":status") != "200" || got.Value("grpc-status") != "8" || res.Reply.Body != "rate limit l reached" {
		t.Errorf("gRPC answer: %v %q", got.All(), res.Reply.Body)
	}
	if got := r.Do().Status(); got != "503" {
		t.Errorf("status %s, want 503", got)
	}
}

func TestPassTellsTheTightestLimit(t *testing.T) {
	limits := []Limit{
		{Name: "wide", Requests: 100, Per: minute},
		{Name: "tight", Requests: 5, Per: filter.Duration(time.Second), Burst: 8},
		{Name: "shadow", Requests: 2, Per: minute, Action: ActionShadow},
	}
	r := newRunner(t, Config{Limits: limits}, filtertest.Env())
	passes(r, 2)
	res := r.Do().Response
	for name, want := range map[string]string{
		"x-ratelimit-limit": "8, 5;w=1;burst=8", "x-ratelimit-remaining": "5", "x-ratelimit-reset": "1",
	} {
		if got := res.Value(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	off := newRunner(t, Config{Headers: HeadersOff, Limits: limits[:1]}, filtertest.Env())
	if got := off.Do().Response.All(); len(got) != 1 {
		t.Errorf("headers off: %v", got)
	}
	passes(off, 100)
	if got := off.Do().Response; got.Value("retry-after") == "" || got.Value("x-ratelimit-limit") != "" {
		t.Errorf("headers off, refusal: %v", got.All())
	}
}

func TestKeys(t *testing.T) {
	limit := Limit{Name: "l", Requests: 1, Per: minute, Key: byHeader("x-user", "x-plan")}
	r := newRunner(t, Config{Limits: []Limit{limit}}, filtertest.Env())
	long := strings.Repeat("u", 5000)
	for _, c := range []struct {
		name    string
		headers []string
		pass    bool
	}{
		{"a first", []string{"x-user: a", "x-plan: p"}, true},
		{"again", []string{"x-user: a", "x-plan: p"}, false},
		{"other part", []string{"x-user: a", "x-plan: q"}, true},
		{"parts never run together", []string{"x-user: ap", "x-plan: "}, true},
		{"lacking a part", []string{"x-user: b"}, true},
		{"lacking all", nil, true},
		{"lacking all shares one bucket", nil, false},
		{"empty is lacking", []string{"x-user: ", "x-plan: "}, false},
		{"long", []string{"x-user: " + long}, true},
		{"long again", []string{"x-user: " + long}, false},
		{"long, other", []string{"x-user: " + long + "v"}, true},
	} {
		if got := r.Do(c.headers...).Reply == nil; got != c.pass {
			t.Errorf("%s: passed %v, want %v", c.name, got, c.pass)
		}
	}
}

func TestMatch(t *testing.T) {
	prefix := "/api"
	r := newRunner(t, Config{Limits: []Limit{{Name: "api", Requests: 1, Per: minute,
		Match: []match.Request{{Path: &match.String{Prefix: &prefix}}}}}}, filtertest.Env())
	if got := passes(r, 5, ":path: /static"); got != 5 {
		t.Errorf("unmatched: %d of 5 passed", got)
	}
	if got := passes(r, 5, ":path: /api/x?y"); got != 1 {
		t.Errorf("matched: %d of 5 passed, want 1", got)
	}
}

func TestOverrides(t *testing.T) {
	limit := Limit{Name: "l", Requests: 2, Per: minute, Key: byHeader("x-plan", "x-user"), Overrides: []Override{
		{Key: []string{"gold", "*"}, Requests: 5, Per: minute},
		{Key: []string{"*", "bob"}, Requests: 3, Per: minute, Burst: 7},
		{Key: []string{"gold", "eve"}, Requests: 1, Per: minute},
		{Key: []string{"", ""}, Requests: 4, Per: minute},
	}}
	r := newRunner(t, Config{Limits: []Limit{limit}}, filtertest.Env())
	for _, c := range []struct {
		plan, user string
		want       int
	}{
		{"silver", "ann", 2}, {"gold", "ann", 5}, {"gold", "bob", 5}, {"silver", "bob", 7}, {"gold", "eve", 1},
		{"gold", "", 5}, {"", "", 4},
	} {
		if got := passes(r, 10, "x-plan: "+c.plan, "x-user: "+c.user); got != c.want {
			t.Errorf("%s/%s: %d passed, want %d", c.plan, c.user, got, c.want)
		}
	}
}

// TestRefusalTakesNothing: what one limit refuses is not counted by the others.
func TestRefusalTakesNothing(t *testing.T) {
	for _, algorithm := range []string{AlgorithmGCRA, AlgorithmTokenBucket, AlgorithmSlidingWindow} {
		t.Run(algorithm, func(t *testing.T) {
			for _, order := range [][2]string{{"a", "z"}, {"z", "a"}} {
				r := newRunner(t, Config{Limits: []Limit{
					{Name: order[0], Requests: 10, Per: minute, Algorithm: algorithm},
					{Name: order[1], Requests: 2, Per: minute, Algorithm: algorithm, Key: byHeader("x-user")},
				}}, filtertest.Env())
				if got := passes(r, 50, "x-user: greedy"); got != 2 {
					t.Fatalf("greedy: %d passed, want 2", got)
				}
				others := 0
				for i := range 20 {
					others += passes(r, 1, fmt.Sprint("x-user: ", i))
				}
				if others != 8 {
					t.Errorf("others: %d passed, want the 8 that greedy's refusals left", others)
				}
				if got := r.Host.Counted(metricRequests, order[0], "ok", "local"); got != 10 {
					t.Errorf("counted %d ok, want 10", got)
				}
			}
		})
	}
}

func TestRefusalTellsTheLongestWait(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{
		{Name: "second", Requests: 1, Per: filter.Duration(time.Second)},
		{Name: "hour", Requests: 1, Per: filter.Duration(time.Hour)},
	}}, filtertest.Env())
	passes(r, 1)
	res := r.Do()
	if got := res.Response.Value("retry-after"); got != "3600" || res.Host.Annotations["ratelimit"] != "hour" {
		t.Errorf("retry-after %s of %s, want 3600 of hour", got, res.Host.Annotations["ratelimit"])
	}
	for _, name := range []string{"second", "hour"} {
		if got := r.Host.Counted(metricRequests, name, "limited", "local"); got != 1 {
			t.Errorf("%s: counted %d refusals, want 1", name, got)
		}
	}
}

func TestRetryAfterIsEnough(t *testing.T) {
	for _, algorithm := range []string{AlgorithmGCRA, AlgorithmTokenBucket, AlgorithmSlidingWindow} {
		r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 7, Per: filter.Duration(10 * time.Second),
			Algorithm: algorithm}}}, filtertest.Env())
		rnd := filtertest.Rand(3)
		for range 500 {
			r.Clock.Advance(time.Duration(rnd.Uint64() % uint64(time.Second)))
			res := r.Do()
			if res.Reply == nil {
				continue
			}
			wait, err := time.ParseDuration(res.Response.Value("retry-after") + "s")
			if err != nil || wait < time.Second {
				t.Fatalf("%s: retry-after %q", algorithm, res.Response.Value("retry-after"))
			}
			r.Clock.Advance(wait)
			if r.Do().Reply != nil {
				t.Fatalf("%s: refused again after waiting %s as told", algorithm, wait)
			}
		}
	}
}

func TestShadow(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "s", Requests: 3, Per: minute, Action: ActionShadow}}}, filtertest.Env())
	if got := passes(r, 10); got != 10 {
		t.Fatalf("%d of 10 passed", got)
	}
	if ok, would := r.Host.Counted(metricRequests, "s", "ok", "local"),
		r.Host.Counted(metricRequests, "s", "shadow_limited", "local"); ok != 3 || would != 7 {
		t.Errorf("counted ok %d, shadow_limited %d; want 3, 7", ok, would)
	}
	if r.Host.Annotations["ratelimit_shadow"] != "s" || len(r.Host.Flags) != 0 || r.Host.Annotations["ratelimit"] != "" {
		t.Errorf("annotations %v, flags %v", r.Host.Annotations, r.Host.Flags)
	}
}

func TestGlobalWithoutServiceIsLocalAndSaysSo(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "g", Requests: 3, Per: minute, Scope: ScopeGlobal}}}, filtertest.Env())
	if got := passes(r, 10); got != 3 {
		t.Errorf("%d passed, want 3", got)
	}
	if got := r.Host.Counted(metricRequests, "g", "limited", "global-local"); got != 7 {
		t.Errorf("counted %d as global-local, want 7", got)
	}
}

func TestConcurrency(t *testing.T) {
	p, err := New(Config{Limits: []Limit{
		{Name: "c", Concurrency: 2, Key: byHeader("x-user")},
		{Name: "r", Requests: 5, Per: minute},
	}}, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	prog := filtertest.Single("ratelimit", p)
	start := func(user string) (*filter.Run, *filter.Reply) {
		run := &filter.Run{Exchange: *filtertest.NewExchange("x-user: " + user)}
		return run, run.Request(prog, nil).Reply
	}
	a1, _ := start("a")
	a2, _ := start("a")
	refused, reply := start("a")
	if reply == nil || reply.Status != 429 || reply.Headers[0] != (filter.Header{Name: "retry-after", Value: "1"}) || len(reply.Headers) != 1 {
		t.Fatalf("third in progress: reply %+v, want 429 with only retry-after 1", reply)
	}
	refused.End(prog)
	if _, reply := start("a"); reply == nil {
		t.Fatal("the end of a refused request freed a place")
	}
	if _, reply := start("b"); reply != nil {
		t.Fatal("another key was refused")
	}
	a1.End(prog) // the client went away: there was no response
	a1.End(prog)
	if _, reply := start("a"); reply != nil {
		t.Fatal("a request that ended without a response kept its place")
	}
	if _, reply := start("a"); reply == nil {
		t.Fatal("one end freed two places")
	}
	a2.Exchange.Response = filtertest.Headers(":status: 200")
	a2.Response(prog)
	if _, reply := start("a"); reply == nil {
		t.Fatal("a place was free before the body had ended")
	}
	a2.End(prog)
	if _, reply := start("a"); reply != nil {
		t.Fatal("a finished request kept its place")
	}
}
