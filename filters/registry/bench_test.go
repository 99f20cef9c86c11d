package registry_test

import (
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// The configurations that integration/bench gives an Envoy: nothing is refused, delayed or aborted.
const (
	benchTracing = `"tracing":{"sampling":{"percentage":1}}`
	benchLimit   = `"ratelimit":{"limits":[{"name":"all","requests":1000000000,"per":"1s"}]}`
	benchFault   = `"fault":{"rules":[{"name":"some","match":[{"headers":[{"name":"x-fault","present":true}]}],"abort":{"percentage":10,"httpStatus":503}}]}`
	benchCanary  = `"canary":{"rules":[{"name":"testers","match":[{"headers":[{"name":"x-group","exact":"testers"}]}],"destinations":[{"name":"v2","route":"r0.d0"}]},` +
		`{"name":"all","destinations":[{"name":"v1","weight":90,"route":"r1.d0"},{"name":"v2","weight":10,"route":"r1.d1"}]}]}`
)

// benchRequest is what Envoy hands on of a browser's request.
var benchRequest = []filter.Header{
	{Name: ":authority", Value: "shop.default.svc.cluster.local"}, {Name: ":path", Value: "/productpage?id=7"},
	{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
	{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
	{Name: "accept", Value: "text/html,application/xhtml+xml"}, {Name: "accept-language", Value: "en"},
	{Name: "cookie", Value: "session=0123456789abcdef; theme=dark"}, {Name: "x-user", Value: "ann"},
	{Name: "x-forwarded-proto", Value: "http"},
}

// passer runs one exchange after another through a chain, as a host does that reuses what it made.
type passer struct {
	base, chosen, after *filter.Program // the listener's, the virtual host's, and that of the route canary chose
	run                 filter.Run
	request, response   filter.Headers
	entries             []filter.Header
	rand                filter.Rand
	now                 time.Time
}

func newPasser(t testing.TB, base, chosen, after string) *passer {
	t.Helper()
	p := &passer{entries: make([]filter.Header, 0, 64), rand: filtertest.Rand(1), now: time.Unix(1_800_000_000, 0)}
	env := registry.NewEnv()
	for _, level := range []struct {
		to   **filter.Program
		text string
	}{{&p.base, base}, {&p.chosen, chosen}, {&p.after, after}} {
		program, err := registry.Parse([]byte("{"+level.text+"}"), env)
		if err != nil {
			t.Fatal(err)
		}
		*level.to = program
	}
	return p
}

// pass is one exchange.
func (p *passer) pass(t testing.TB) {
	p.now = p.now.Add(time.Microsecond)
	x := &p.run.Exchange
	x.Host, x.Rand, x.Request, x.Now = filtertest.QuietHost{}, p.rand, &p.request, p.now
	p.request.Reset(append(p.entries[:0], benchRequest...))
	route := p.chosen
	for {
		v := p.run.Request(p.base, route)
		if !v.Reroute {
			if v != (filter.Verdict{}) {
				t.Fatalf("the request did not pass: %+v", v)
			}
			break
		}
		route = p.after
	}
	p.request.TakeEdits()
	if !p.run.Over() {
		p.response.Reset(p.entries[:0])
		x.Response = &p.response
		if v := p.run.Response(p.base); v != (filter.Verdict{}) {
			t.Fatalf("the response did not pass: %+v", v)
		}
		p.run.End(p.base)
	}
	p.run.Reset()
}

var chains = []struct{ name, base, chosen, after string }{
	{"empty", "", "", ""},
	{"tracing", benchTracing, "", ""},
	{"canary", "", benchCanary, ""},
	{"ratelimit", benchLimit, "", ""},
	{"fault", benchFault, "", ""},
	{"chain", benchTracing + "," + benchLimit, benchCanary, benchFault},
}

// BenchmarkPass is what a request costs that is let through, in plain Go: docs/performance.md has the figures.
func BenchmarkPass(b *testing.B) {
	for _, c := range chains {
		b.Run(c.name, func(b *testing.B) {
			p := newPasser(b, c.base, c.chosen, c.after)
			b.ReportAllocs()
			for b.Loop() {
				p.pass(b)
			}
		})
	}
}

// A request that is let through allocates nothing, whatever is configured: no garbage collection follows from it.
func TestPassAllocatesNothing(t *testing.T) {
	for _, c := range chains {
		p := newPasser(t, c.base, c.chosen, c.after)
		p.pass(t) // makes what is kept
		if n := testing.AllocsPerRun(1000, func() { p.pass(t) }); n != 0 {
			t.Errorf("%s: %v allocations for each request", c.name, n)
		}
	}
}
