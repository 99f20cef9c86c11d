package canary_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func newPolicy(t testing.TB, config string) filter.Policy {
	t.Helper()
	c, err := canary.ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := canary.New(c, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runner(t testing.TB, config string) *filtertest.Runner {
	return &filtertest.Runner{Base: filtertest.Single("canary", newPolicy(t, config)), Rand: filtertest.Rand(7), Host: &filtertest.Host{}}
}

const twoRules = `{"rules":[
 {"name":"testers","match":[{"headers":[{"name":"x-tester","exact":"1"}]},{"cookies":[{"name":"tester","present":true}]}],
  "destinations":[{"name":"v2","route":"r0.d0"}]},
 {"name":"api","match":[{"path":{"prefix":"/api"}}],"destinations":[{"name":"v1","weight":1,"route":"r1.d0"},{"name":"v3","weight":0,"route":"r1.d1"}]}],
 "responseHeader":"X-Canary"}`

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, decision, route string
		headers               []string
	}{
		{"first rule, first match", "testers/v2", "r0.d0.0", []string{"x-tester: 1", ":path: /api"}},
		{"first rule, second match", "testers/v2", "r0.d0.1", []string{"cookie: tester=yes"}},
		{"second rule, single match", "api/v1", "r1.d0", []string{":path: /api/x"}},
		{"no rule", "", "", []string{":path: /"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runner(t, twoRules)
			res := r.Do(c.headers...)
			if got := res.Request.Value(canary.RouteHeader); got != c.route {
				t.Errorf("route %q, want %q", got, c.route)
			}
			if got := res.Host.Annotations["canary"]; got != c.decision {
				t.Errorf("access log %q, want %q", got, c.decision)
			}
			if got := res.Response.Value("x-canary"); got != c.decision {
				t.Errorf("response header %q, want %q", got, c.decision)
			}
			if rule, dest, ok := strings.Cut(c.decision, "/"); ok != (res.Reroutes == 1) {
				t.Errorf("%d reroutes", res.Reroutes)
			} else if ok && res.Host.Counted(canary.MetricDecisions, rule, dest, "off") != 1 {
				t.Errorf("counters %v", res.Host.Series())
			}
		})
	}
}

func TestClusterWithoutControlPlane(t *testing.T) {
	res := runner(t, `{"rules":[{"name":"r","destinations":[{"name":"v1","cluster":"reviews-v1"}]}]}`).Do()
	if got := res.Request.Value(canary.ClusterHeader); got != "reviews-v1" {
		t.Errorf("cluster %q", got)
	}
	if _, ok := res.Response.Get("x-canary"); ok {
		t.Error("a response header that nobody asked for")
	}
}

// What the client sends never decides.
func TestForging(t *testing.T) {
	const config = `{"rules":[{"name":"r","match":[{"path":{"prefix":"/shop"}}],"destinations":[{"name":"v1","route":"good"}]}],
	 "lane":{"start":true}}`
	for _, c := range []struct {
		name            string
		headers         []string
		route, cluster  string
		reroutes, forge int
	}{
		{"route, rule matches", []string{":path: /shop", "x-mizzen-route: evil"}, "good", "", 1, 1},
		{"route in capitals", []string{":path: /shop", "X-Mizzen-Route: evil"}, "good", "", 1, 1},
		{"cluster, rule matches", []string{":path: /shop", "x-mizzen-cluster: evil"}, "good", "", 1, 1},
		{"twice", []string{":path: /shop", "x-mizzen-route: good", "x-mizzen-route: evil"}, "good", "", 1, 1},
		{"route, no rule: the route is chosen again", []string{"x-mizzen-route: evil"}, "", "", 1, 1},
		{"both, no rule", []string{"x-mizzen-route: evil", "x-mizzen-cluster: evil"}, "", "", 1, 1},
		{"nothing, no rule", nil, "", "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := runner(t, config).Do(c.headers...)
			route, _ := res.Request.Joined(canary.RouteHeader)
			cluster, _ := res.Request.Joined(canary.ClusterHeader)
			if route != c.route || cluster != c.cluster || res.Reroutes != c.reroutes {
				t.Errorf("route %q cluster %q reroutes %d", route, cluster, res.Reroutes)
			}
			if got := res.Host.Counted(canary.MetricForged); got != int64(c.forge) {
				t.Errorf("forged counter %d, want %d", got, c.forge)
			}
		})
	}
}

func stickyConfig(key string, weights ...uint32) string {
	var d []canary.Destination
	for i, w := range weights {
		d = append(d, canary.Destination{Name: fmt.Sprintf("v%d", i+1), Weight: w, Route: fmt.Sprintf("d%d", i)})
	}
	b, _ := json.Marshal(d)
	return `{"rules":[{"name":"r","destinations":` + string(b) + `}],"sticky":` + key + `}`
}

// Without stickiness every request is drawn: shares within 4 sigma.
func TestRandomShares(t *testing.T) {
	const n = 50_000
	r := runner(t, `{"rules":[{"name":"r","destinations":[{"name":"v1","weight":70,"route":"a"},{"name":"v2","weight":29,"route":"b"},{"name":"v3","weight":1,"route":"c"}]}]}`)
	for range n {
		r.Do()
	}
	for dest, share := range map[string]float64{"v1": 0.7, "v2": 0.29, "v3": 0.01} {
		got := float64(r.Host.Counted(canary.MetricDecisions, "r", dest, "off"))
		if sigma := math.Sqrt(n * share * (1 - share)); math.Abs(got-n*share) > 4*sigma {
			t.Errorf("%s: %v of %d, want %v", dest, got, n, n*share)
		}
	}
}

func TestStickyHeader(t *testing.T) {
	r := runner(t, stickyConfig(`{"key":{"header":"x-user"}}`, 50, 50))
	seen := map[string]bool{}
	for i := range 50 {
		user := fmt.Sprintf("x-user: user-%d", i)
		first := r.Do(user).Request.Value(canary.RouteHeader)
		seen[first] = true
		for range 5 {
			if got := r.Do(user).Request.Value(canary.RouteHeader); got != first {
				t.Fatalf("%s went from %s to %s", user, first, got)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("all users on one side: %v", seen)
	}
	r.Do()
	if r.Host.Counted(canary.MetricDecisions, "r", "v1", "missing")+r.Host.Counted(canary.MetricDecisions, "r", "v2", "missing") != 1 {
		t.Errorf("a request without the key is not counted as missing: %v", r.Host.Series())
	}
}

// Another salt is another experiment: about half of the users change sides.
func TestSaltsAreIndependent(t *testing.T) {
	a := runner(t, stickyConfig(`{"key":{"header":"x-user"},"salt":"a"}`, 50, 50))
	b := runner(t, stickyConfig(`{"key":{"header":"x-user"},"salt":"b"}`, 50, 50))
	const n = 10_000
	moved := 0
	for i := range n {
		user := fmt.Sprintf("x-user: %d", i)
		if a.Do(user).Request.Value(canary.RouteHeader) != b.Do(user).Request.Value(canary.RouteHeader) {
			moved++
		}
	}
	if math.Abs(float64(moved)-n/2) > 4*math.Sqrt(n)/2 {
		t.Errorf("%d of %d on another side", moved, n)
	}
}

func TestCookiePinsBothSides(t *testing.T) {
	r := runner(t, stickyConfig(`{"key":{"cookie":"side"},"setCookie":{"ttl":"1h","sameSite":"Lax","httpOnly":true}}`, 80, 20))
	pinned := map[string]int{}
	for range 200 {
		res := r.Do("cookie: lang=de")
		set, n := res.Response.Value("set-cookie"), 0
		for _, h := range res.Response.All() {
			if h.Name == "set-cookie" {
				n++
			}
		}
		pair, attributes, _ := strings.Cut(set, "; ")
		if n != 1 || attributes != "Path=/; Max-Age=3600; SameSite=Lax; HttpOnly" {
			t.Fatalf("%d cookies, %q", n, set)
		}
		if id := strings.TrimPrefix(pair, "side="); len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Fatalf("cookie value %q is not 128 random bits in hex", id)
		}
		side := res.Request.Value(canary.RouteHeader)
		pinned[side]++
		again := r.Do("cookie: lang=de; " + pair)
		if got := again.Request.Value(canary.RouteHeader); got != side {
			t.Fatalf("the cookie moved the user from %s to %s", side, got)
		}
		if v, ok := again.Response.Get("set-cookie"); ok {
			t.Fatalf("the cookie is set again: %q", v)
		}
	}
	if len(pinned) != 2 {
		t.Errorf("only one side gets the cookie: %v", pinned)
	}
	if n := r.Host.Counted(canary.MetricDecisions, "r", "v1", "new"); n != int64(pinned["d0"]) {
		t.Errorf("counted %d new on v1, saw %d", n, pinned["d0"])
	}
}

// A local reply (say, a rate limit) carries the cookie too, so that a refused user keeps the side.
func TestCookieOnLocalReply(t *testing.T) {
	r := runner(t, stickyConfig(`{"key":{"cookie":"side"},"setCookie":{}}`, 1, 1))
	r.Base = &filter.Program{Names: []string{"canary", "stop"}, Policies: []filter.Policy{r.Base.Policies[0], stop{}}, Disabled: make([]bool, 2)}
	res := r.Do()
	if res.Status() != "429" || !strings.HasPrefix(res.Response.Value("set-cookie"), "side=") {
		t.Errorf("response %v", res.Response.All())
	}
}

type stop struct{}

func (stop) Request(*filter.Exchange) filter.Verdict {
	return filter.Verdict{Reply: &filter.Reply{Status: 429}}
}
func (stop) Response(*filter.Exchange) filter.Verdict { return filter.Verdict{} }

func TestRuleStickyGoesBeforeConfigs(t *testing.T) {
	r := runner(t, `{"sticky":{"key":{"header":"x-user"}},"rules":[{"name":"r","sticky":{"key":{"sourceAddress":true}},
	 "destinations":[{"name":"v1","weight":1,"route":"a"},{"name":"v2","weight":1,"route":"b"}]}]}`)
	r.Source = "10.1.2.3"
	side := r.Do("x-user: 0").Request.Value(canary.RouteHeader)
	for i := range 30 {
		if got := r.Do(fmt.Sprintf("x-user: %d", i)).Request.Value(canary.RouteHeader); got != side {
			t.Fatalf("x-user decided: %s and %s", side, got)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	dest := `"destinations":[{"name":"v1","route":"a"}]`
	for _, c := range []struct{ config, want string }{
		{`{"rulez":[]}`, "rulez"},
		{`{"rules":[{` + dest + `}]}`, "rules[0].name: is empty"},
		{`{"rules":[{"name":"r"}]}`, "rules[0].destinations: is empty"},
		{`{"rules":[{"name":"r\n",` + dest + `}]}`, "control character"},
		{`{"rules":[{"name":"r","destinations":[{"name":"v1"}]}]}`, "destinations[0].route: is empty"},
		{`{"rules":[{"name":"r","destinations":[{"name":"v1","route":"a","cluster":"b"}]}]}`, "write exactly one"},
		{`{"rules":[{"name":"r","destinations":[{"name":"v1","route":"a"},{"name":"v2","route":"b"}]}]}`, "every weight is 0"},
		{`{"rules":[{"name":"r","destinations":[{"name":"v1","weight":1,"route":"a"},{"name":"v1","weight":1,"route":"b"}]}]}`, "used twice"},
		{`{"rules":[{"name":"r","match":[{"path":{"exact":"/a","prefix":"/b"}}],` + dest + `}]}`, "rules[0].match[0].path: has exact and prefix"},
		{`{"rules":[],"sticky":{"key":{}}}`, "sticky.key: is empty"},
		{`{"rules":[],"sticky":{"key":{"header":"a"},"setCookie":{}}}`, "needs a cookie key"},
		{`{"rules":[],"sticky":{"key":{"cookie":"a"},"setCookie":{"sameSite":"lax"}}}`, "write Strict, Lax or None"},
		{`{"rules":[],"sticky":{"key":{"cookie":"a"},"setCookie":{"sameSite":"None"}}}`, "needs secure"},
		{`{"rules":[],"sticky":{"key":{"cookie":"a"},"setCookie":{"path":"/;x"}}}`, "path:"},
		{`{"rules":[],"sticky":{"key":{"cookie":"a"},"setCookie":{"ttl":"1.5s"}}}`, "whole seconds"},
		{`{"rules":[],"responseHeader":":status"}`, "header name"},
		{`{"rules":[],"lane":{"key":"a b"}}`, "lane.key"},
	} {
		if _, err := canary.ParseConfig([]byte(c.config)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %q in it", c.config, err, c.want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(twoRules), "x-tester: 1")
	f.Add([]byte(stickyConfig(`{"key":{"cookie":"side"},"setCookie":{"ttl":"1h"}}`, 80, 20)), "cookie: side=1")
	f.Add([]byte(`{"rules":[{"name":"r","destinations":[{"name":"v1","cluster":"c"}]}],"lane":{"start":true}}`), "baggage: a=b,mizzen-lane=v2;p")
	f.Fuzz(func(t *testing.T, raw []byte, header string) {
		c, err := canary.ParseConfig(raw)
		if err != nil {
			return
		}
		p, err := canary.New(c, filtertest.Env())
		if err != nil {
			t.Fatalf("a valid configuration is refused: %v", err)
		}
		r := &filtertest.Runner{Base: filtertest.Single("canary", p)}
		name, value, ok := strings.Cut(header, ": ")
		if !ok || name == "" {
			name = "cookie"
		}
		res := r.Do("x-mizzen-route: evil", name+": "+value)
		if n := res.Host.Counted(filter.MetricPanics, "canary"); n != 0 {
			t.Fatalf("panic: %v", res.Host.Annotations)
		}
		if v, _ := res.Request.Joined(canary.RouteHeader); strings.Contains(v, "evil") && !strings.Contains(string(raw), "evil") {
			t.Fatalf("forged: %q", v)
		}
	})
}

func BenchmarkDecision(b *testing.B) {
	for _, c := range []struct{ name, config string }{
		{"random", `{"rules":[{"name":"r","destinations":[{"name":"v1","weight":90,"route":"a"},{"name":"v2","weight":10,"route":"b"}]}]}`},
		{"sticky", stickyConfig(`{"key":{"header":"x-user"}}`, 90, 10)},
		{"headers", `{"rules":[{"name":"t","match":[{"headers":[{"name":"x-tester","exact":"1"}]}],"destinations":[{"name":"v2","route":"b"}]},
		 {"name":"r","match":[{"path":{"prefix":"/"}}],"destinations":[{"name":"v1","weight":90,"route":"a"},{"name":"v2","weight":10,"route":"b"}]}]}`},
		{"none", `{"rules":[{"name":"t","match":[{"headers":[{"name":"x-tester","exact":"1"}]}],"destinations":[{"name":"v2","route":"b"}]}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPolicy(b, c.config)
			entries := filtertest.NewExchange("x-user: ann", "accept: */*", "user-agent: curl", "x-request-id: 8f1d8f5e-2b3c-4d5e-8f90-123456789abc").Request.All()
			x := &filter.Exchange{Request: filter.NewHeaders(nil), Rand: filtertest.Rand(1), Host: silent{}}
			scratch := make([]filter.Header, 0, len(entries)+4)
			b.ReportAllocs()
			for b.Loop() {
				x.Request.Reset(append(scratch[:0], entries...))
				p.Request(x)
			}
		})
	}
}

// silent is a Host that costs nothing.
type silent struct{}

func (silent) RouteName() string                      { return "" }
func (silent) SourceAddress() string                  { return "" }
func (silent) Count(*filter.Metric, int64, ...string) {}
func (silent) Annotate(string, string)                {}
func (silent) Flag(string)                            {}
