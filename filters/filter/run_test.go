package filter

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// host is the least a Host can be; filtertest has the one that other packages use.
type host struct{ log []string }

func (h *host) RouteName() string     { return "" }
func (h *host) SourceAddress() string { return "" }
func (h *host) Count(m *Metric, n int64, labels ...string) {
	h.log = append(h.log, m.Name+"{"+strings.Join(labels, ",")+"}")
}
func (h *host) Annotate(key, value string) { h.log = append(h.log, key+"="+value) }
func (h *host) Flag(code string)           { h.log = append(h.log, "flag "+code) }

// scripted is a policy made of functions.
type scripted struct {
	name              string
	log               *[]string
	request, response func(x *Exchange) Verdict
}

func (s *scripted) Request(x *Exchange) Verdict {
	*s.log = append(*s.log, s.name+" request")
	if s.request == nil {
		return Verdict{}
	}
	return s.request(x)
}

func (s *scripted) Response(x *Exchange) Verdict {
	*s.log = append(*s.log, s.name+" response")
	if s.response == nil {
		return Verdict{}
	}
	return s.response(x)
}

func (s *scripted) End(*Exchange) { *s.log = append(*s.log, s.name+" end") }

func program(ps ...*scripted) *Program {
	p := &Program{}
	for _, s := range ps {
		if s == nil {
			p.Names, p.Policies = append(p.Names, "off"), append(p.Policies, nil)
		} else {
			p.Names, p.Policies = append(p.Names, s.name), append(p.Policies, s)
		}
		p.Disabled = append(p.Disabled, false)
	}
	return p
}

func newRun() (*Run, *host) {
	h := &host{}
	r := &Run{}
	r.Exchange.Request, r.Exchange.Host = NewHeaders(sample()), h
	return r, h
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRunOrder(t *testing.T) {
	var log []string
	base := program(&scripted{name: "a", log: &log}, nil, &scripted{name: "b", log: &log})
	r, _ := newRun()
	r.Request(base, nil)
	r.Response(base)
	r.End(base)
	r.End(base)
	same(t, log, "a request", "b request", "b response", "a response", "b end", "a end")
}

func TestRunRouteOverridesAndDisables(t *testing.T) {
	var log []string
	base := program(&scripted{name: "a", log: &log}, &scripted{name: "b", log: &log}, &scripted{name: "c", log: &log})
	route := program(&scripted{name: "route-a", log: &log}, nil, nil)
	route.Disabled[1] = true
	r, _ := newRun()
	r.Request(base, route)
	r.Response(base)
	same(t, log, "route-a request", "c request", "c response", "route-a response")
}

func TestRunRerouteTakesTheNewRoutesPolicies(t *testing.T) {
	var log []string
	first := &scripted{name: "first", log: &log, request: func(*Exchange) Verdict { return Verdict{Reroute: true} }}
	base := program(nil, nil)
	before, after := program(first, nil), program(nil, &scripted{name: "second", log: &log})
	r, _ := newRun()
	if v := r.Request(base, before); !v.Reroute {
		t.Fatalf("verdict %+v", v)
	}
	r.Request(base, after)
	r.Response(base)
	same(t, log, "first request", "second request", "second response", "first response")
}

func TestRunWaitResumesAtTheSamePolicy(t *testing.T) {
	var log []string
	wait := &scripted{name: "w", log: &log, request: func(x *Exchange) Verdict {
		if x.Resumed() {
			log = append(log, "kept "+x.State().(string))
			return Verdict{}
		}
		x.SetState("s")
		return Verdict{Wait: time.Second}
	}}
	base := program(&scripted{name: "a", log: &log}, wait, &scripted{name: "z", log: &log})
	r, _ := newRun()
	if v := r.Request(base, nil); v.Wait != time.Second {
		t.Fatalf("verdict %+v", v)
	}
	r.Resume(nil)
	// The route's configuration changed meanwhile: the policy that waits is the one that is resumed.
	r.Request(base, program(nil, &scripted{name: "new", log: &log}, nil))
	same(t, log, "a request", "w request", "w request", "kept s", "z request")
}

func TestRunCallBringsTheAnswer(t *testing.T) {
	var log []string
	call := &scripted{name: "c", log: &log, request: func(x *Exchange) Verdict {
		if x.Answer == nil {
			return Verdict{Call: &Call{Cluster: "k"}}
		}
		log = append(log, "answer "+x.Answer.Err)
		return Verdict{}
	}}
	next := &scripted{name: "n", log: &log, request: func(x *Exchange) Verdict {
		if x.Answer != nil || x.Resumed() {
			log = append(log, "the next policy sees the answer of the one before")
		}
		return Verdict{}
	}}
	base := program(call, next)
	r, _ := newRun()
	r.Request(base, nil)
	r.Resume(&Answer{Err: "timeout"})
	r.Request(base, nil)
	same(t, log, "c request", "c request", "answer timeout", "n request")
}

func TestRunReplyGoesBackThroughThoseEntered(t *testing.T) {
	var log []string
	stop := &scripted{name: "s", log: &log, request: func(*Exchange) Verdict { return Verdict{Reply: &Reply{Status: 429}} }}
	base := program(&scripted{name: "a", log: &log}, stop, &scripted{name: "z", log: &log})
	r, _ := newRun()
	if v := r.Request(base, nil); v.Reply == nil {
		t.Fatal("no reply")
	}
	r.Response(base)
	same(t, log, "a request", "s request", "s response", "a response")
}

func TestRunResponseWaitAndReply(t *testing.T) {
	var log []string
	slow := &scripted{name: "w", log: &log, response: func(x *Exchange) Verdict {
		if x.Resumed() {
			return Verdict{Reply: &Reply{Status: 503}}
		}
		return Verdict{Wait: time.Second}
	}}
	base := program(&scripted{name: "a", log: &log}, slow, &scripted{name: "z", log: &log})
	r, _ := newRun()
	r.Request(base, nil)
	log = nil
	if v := r.Response(base); v.Wait == 0 {
		t.Fatal("no wait")
	}
	r.Resume(nil)
	if v := r.Response(base); v.Reply == nil {
		t.Fatal("no reply")
	}
	if v := r.Response(base); v.Reply != nil || v.Wait != 0 {
		t.Fatalf("verdict %+v", v)
	}
	same(t, log, "z response", "w response", "w response", "a response")
}

func TestRunPanic(t *testing.T) {
	for _, closed := range []bool{false, true} {
		var log []string
		bad := &scripted{name: "bad", log: &log, request: func(*Exchange) Verdict { panic("boom") }}
		base := program(&scripted{name: "a", log: &log}, bad, &scripted{name: "z", log: &log})
		base.FailClosed = closed
		r, h := newRun()
		v := r.Request(base, nil)
		if (v.Reply != nil) != closed {
			t.Errorf("closed %v: verdict %+v", closed, v)
		}
		if closed && v.Reply.Status != 500 {
			t.Errorf("status %d", v.Reply.Status)
		}
		r.Response(base)
		same(t, h.log, "panics_total{bad}", "panic=bad: boom")
		want := []string{"a request", "bad request", "z request", "z response", "a response"}
		if closed {
			want = []string{"a request", "bad request", "a response"}
		}
		same(t, log, want...)
	}
}

// A panic in Response fails closed where the listener says so, or the route that the policy is of.
func TestRunPanicInResponseFailsClosed(t *testing.T) {
	for _, byRoute := range []bool{false, true} {
		var log []string
		bad := &scripted{name: "bad", log: &log, response: func(*Exchange) Verdict { panic("boom") }}
		base, route := program(&scripted{name: "a", log: &log}, bad), program(nil, bad)
		if base.FailClosed = !byRoute; byRoute {
			route.FailClosed, base.Policies[1] = true, nil
		}
		r, h := newRun()
		r.Request(base, route)
		if v := r.Response(base); v.Reply == nil || v.Reply.Status != 500 {
			t.Errorf("by route %v: verdict %+v", byRoute, v)
		}
		if v := r.Response(base); v.Reply != nil {
			t.Errorf("answered twice: %+v", v)
		}
		r.End(base)
		same(t, h.log, "panics_total{bad}", "panic=bad: boom")
		same(t, log, "a request", "bad request", "bad response", "a response", "bad end", "a end")
	}
}

func TestRunPanicInResponseAndEnd(t *testing.T) {
	var log []string
	bad := &scripted{name: "bad", log: &log, response: func(*Exchange) Verdict { panic("boom") }}
	base := program(&scripted{name: "a", log: &log}, bad)
	r, h := newRun()
	r.Request(base, nil)
	r.Response(base)
	r.End(base)
	same(t, h.log, "panics_total{bad}", "panic=bad: boom")
	same(t, log, "a request", "bad request", "bad response", "a response", "bad end", "a end")
}

func TestRunStateIsPerPolicy(t *testing.T) {
	var log []string
	keep := func(name string) *scripted {
		return &scripted{name: name, log: &log,
			request:  func(x *Exchange) Verdict { x.SetState(name); return Verdict{} },
			response: func(x *Exchange) Verdict { log = append(log, "kept "+x.State().(string)); return Verdict{} }}
	}
	base := program(keep("a"), keep("b"))
	r, _ := newRun()
	r.Request(base, nil)
	log = nil
	r.Response(base)
	same(t, log, "b response", "kept b", "a response", "kept a")
}

func TestRunAllocatesNothing(t *testing.T) {
	p := &Program{Names: []string{"p"}, Policies: []Policy{quiet{}}, Disabled: []bool{false}}
	r, _ := newRun()
	x := r.Exchange
	if n := testing.AllocsPerRun(100, func() {
		*r = Run{Exchange: x}
		r.Request(p, nil)
		r.Response(p)
		r.End(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type quiet struct{}

func (quiet) Request(*Exchange) Verdict  { return Verdict{} }
func (quiet) Response(*Exchange) Verdict { return Verdict{} }

func TestRunDoneSparesTheHostVisits(t *testing.T) {
	var log []string
	done := func(x *Exchange) Verdict { x.Done(); return Verdict{} }
	a, b := &scripted{name: "a", log: &log, request: done}, &scripted{name: "b", log: &log}
	base := program(a, b)
	r, _ := newRun()
	r.Request(base, nil)
	if r.Over() {
		t.Error("over, although b wants to see the response")
	}
	r.Response(base)
	r.End(base)
	same(t, log, "a request", "b request", "b response", "b end")

	b.request = done
	r, _ = newRun()
	r.Request(base, nil)
	if !r.Over() {
		t.Error("not over, although both are done")
	}
}

func TestRunSetsOnResponse(t *testing.T) {
	var log []string
	a := &scripted{name: "a", log: &log, request: func(x *Exchange) Verdict { x.SetOnResponse("x-a", "1"); x.Done(); return Verdict{} }}
	lose := &scripted{name: "lose", log: &log, response: func(*Exchange) Verdict { return Verdict{Reply: &Reply{Status: 502}} }}
	base := program(a, lose)
	r, _ := newRun()
	r.Request(base, nil)
	if got := r.Later(); len(got) != 1 || got[0] != (Edit{EditSet, "x-a", "1"}) {
		t.Errorf("later %v", got)
	}
	r.Exchange.Response = NewHeaders([]Header{{":status", "200"}})
	if v := r.Response(base); v.Reply == nil || r.Exchange.Response.Value("x-a") != "" {
		t.Errorf("the response that is lost: verdict %+v, headers %v", v, r.Exchange.Response.All())
	}
	r.Exchange.Response = NewHeaders([]Header{{":status", "502"}})
	if v := r.Response(base); v.Reply != nil || r.Exchange.Response.Value("x-a") != "1" {
		t.Errorf("the response that comes: verdict %+v, headers %v", v, r.Exchange.Response.All())
	}
	r.Reset()
	if len(r.Later()) != 0 || !r.Over() {
		t.Error("Reset kept something")
	}
}

// Envoy may answer by itself while a policy waits: the late timer must find nothing to do.
func TestRunLateTimerAfterTheResponse(t *testing.T) {
	var log []string
	p := program(&scripted{name: "slow", log: &log, request: func(x *Exchange) Verdict {
		if x.Resumed() {
			return Verdict{Reply: &Reply{Status: 503}}
		}
		return Verdict{Wait: time.Second}
	}})
	r, _ := newRun()
	if v := r.Request(p, nil); v.Wait != time.Second {
		t.Fatalf("got %+v, want a wait", v)
	}
	r.Exchange.Response = NewHeaders(nil)
	r.Response(p)
	r.Resume(nil)
	if v := r.Request(p, nil); v != (Verdict{}) {
		t.Errorf("a late timer got %+v, want nothing", v)
	}
	r.End(p)
	r.Resume(nil)
	if v := r.Request(p, nil); v != (Verdict{}) {
		t.Errorf("a timer after the end got %+v, want nothing", v)
	}
	if want := []string{"slow request", "slow response", "slow end"}; !slices.Equal(log, want) {
		t.Errorf("calls %q, want %q", log, want)
	}
}
