package filtertest_test

import (
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// policy is made of functions; nil ones do nothing.
type policy struct {
	request, response func(x *filter.Exchange) filter.Verdict
	ended             *int
}

func (p policy) Request(x *filter.Exchange) filter.Verdict {
	if p.request == nil {
		return filter.Verdict{}
	}
	return p.request(x)
}

func (p policy) Response(x *filter.Exchange) filter.Verdict {
	if p.response == nil {
		return filter.Verdict{}
	}
	return p.response(x)
}

func (p policy) End(*filter.Exchange) {
	if p.ended != nil {
		*p.ended++
	}
}

func TestRunnerPassesThrough(t *testing.T) {
	ended := 0
	r := &filtertest.Runner{Base: filtertest.Single("p", policy{ended: &ended}), Source: "10.0.0.1",
		Upstream: func(h *filter.Headers) []filter.Header {
			return []filter.Header{{Name: ":status", Value: "204"}, {Name: "path", Value: h.Value(":path")}}
		}}
	res := r.Do("Accept: a:b", ":path: /x")
	if res.Status() != "204" || res.Response.Value("path") != "/x" || res.Request.Value("accept") != "a:b" || ended != 1 {
		t.Errorf("request %v, response %v, ended %d", res.Request.All(), res.Response.All(), ended)
	}
	if res.Host.SourceAddress() != "10.0.0.1" || res.Request.Value(":method") != "GET" {
		t.Error("defaults are missing")
	}
}

func TestRunnerWaitsWithoutSleeping(t *testing.T) {
	clock := filtertest.NewClock()
	start := clock.Now()
	wait := policy{request: func(x *filter.Exchange) filter.Verdict {
		if x.Resumed() {
			if x.Now.Sub(start) != time.Hour {
				t.Errorf("resumed at %v", x.Now)
			}
			return filter.Verdict{}
		}
		return filter.Verdict{Wait: time.Hour}
	}}
	r := &filtertest.Runner{Base: filtertest.Single("p", wait), Clock: clock}
	if res := r.Do(); res.Waited != time.Hour || res.Status() != "200" {
		t.Errorf("waited %v, status %s", res.Waited, res.Status())
	}
}

func TestRunnerClientGoesAway(t *testing.T) {
	ended := 0
	wait := policy{ended: &ended, request: func(*filter.Exchange) filter.Verdict { return filter.Verdict{Wait: time.Minute} }}
	r := &filtertest.Runner{Base: filtertest.Single("p", wait), Patience: time.Second}
	if res := r.Do(); res.Response != nil || res.Waited != time.Second || ended != 1 {
		t.Errorf("%+v, ended %d", res, ended)
	}
}

func TestRunnerCalls(t *testing.T) {
	ask := policy{request: func(x *filter.Exchange) filter.Verdict {
		if x.Answer == nil {
			return filter.Verdict{Call: &filter.Call{Cluster: "limits"}}
		}
		return filter.Verdict{Reply: &filter.Reply{Status: 403, Body: x.Answer.Err + string(x.Answer.Body)}}
	}}
	r := &filtertest.Runner{Base: filtertest.Single("p", ask)}
	if res := r.Do(); len(res.Calls) != 1 || res.Reply.Body != "no such cluster" || res.Request != nil {
		t.Errorf("%+v", res)
	}
	r.Answer = func(c *filter.Call) filter.Answer { return filter.Answer{Body: []byte("from " + c.Cluster)} }
	if res := r.Do(); res.Reply.Body != "from limits" || res.Status() != "403" {
		t.Errorf("%+v", res)
	}
}

func TestRunnerReroutes(t *testing.T) {
	choose := policy{request: func(x *filter.Exchange) filter.Verdict {
		x.Request.Set("side", "b")
		return filter.Verdict{Reroute: true}
	}}
	refuse := policy{request: func(*filter.Exchange) filter.Verdict {
		return filter.Verdict{Reply: &filter.Reply{Status: 418, Flag: "FI"}}
	}}
	two := func(a, b filter.Policy) *filter.Program {
		return &filter.Program{Names: []string{"a", "b"}, Policies: []filter.Policy{a, b}, Disabled: make([]bool, 2)}
	}
	r := &filtertest.Runner{Base: two(choose, nil), Route: func(h *filter.Headers) (string, *filter.Program) {
		if h.Value("side") == "b" {
			return "to-b", two(nil, refuse)
		}
		return "default", nil
	}}
	res := r.Do()
	if res.Reroutes != 1 || res.Status() != "418" || res.Host.RouteName() != "to-b" || len(res.Host.Flags) != 1 {
		t.Errorf("%+v", res)
	}
}

func TestRunnerAnswersGRPC(t *testing.T) {
	code := 14
	refuse := policy{request: func(*filter.Exchange) filter.Verdict {
		return filter.Verdict{Reply: &filter.Reply{Status: 503, GRPCStatus: &code}}
	}}
	r := &filtertest.Runner{Base: filtertest.Single("p", refuse)}
	if res := r.Do("content-type: application/grpc"); res.Status() != "200" || res.Response.Value("grpc-status") != "14" {
		t.Errorf("gRPC: %v", res.Response.All())
	}
	if res := r.Do(); res.Status() != "503" {
		t.Errorf("HTTP: %v", res.Response.All())
	}
}

func TestRunnerStopsARunaway(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a chain that reroutes for ever is not stopped")
		}
	}()
	forever := policy{response: func(*filter.Exchange) filter.Verdict { return filter.Verdict{Wait: 1} }}
	(&filtertest.Runner{Base: filtertest.Single("p", forever)}).Do()
}

func TestHostCounts(t *testing.T) {
	h := &filtertest.Host{}
	m := &filter.Metric{Name: "m", Labels: []string{"a", "b"}}
	h.Count(m, 2, "x", "y")
	h.Count(m, -1, "x", "y")
	if h.Counted(m, "x", "y") != 1 || h.Counted(m, "x", "z") != 0 {
		t.Errorf("%v", h.Series())
	}
	if s := h.Series(); len(s) != 1 || s[0] != "m{x,y}" {
		t.Errorf("%v", s)
	}
	defer func() {
		if recover() == nil {
			t.Error("a missing label is accepted")
		}
	}()
	h.Count(m, 1, "x")
}

func TestRandIsSeeded(t *testing.T) {
	a, b, c := filtertest.Rand(1), filtertest.Rand(1), filtertest.Rand(2)
	if x := a.Uint64(); x != b.Uint64() || x == c.Uint64() {
		t.Error("the seed does not decide")
	}
}

func TestEnvShares(t *testing.T) {
	env := filtertest.Env()
	make := func() any { return new(int) }
	if env.Shared("a", make) != env.Shared("a", make) || env.Shared("a", make) == env.Shared("b", make) {
		t.Error("values are not kept by key")
	}
}
