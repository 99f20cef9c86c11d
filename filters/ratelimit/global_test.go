package ratelimit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// fakeRLS is a service that lets 2 of each descriptor pass, and then says that one more may in 30 s.
type fakeRLS struct {
	t      *testing.T
	seen   map[string]int
	asked  []string // descriptors of every call, in one line
	hits   []uint64 // what descriptors cost that said so
	broken *filter.Answer
}

func (f *fakeRLS) answer(c *filter.Call) filter.Answer {
	f.t.Helper()
	if c.Cluster != "rls" || c.Timeout <= 0 || len(c.Body) < 5 {
		f.t.Errorf("call %+v", c)
	}
	req := &rlsv3.RateLimitRequest{}
	if err := proto.Unmarshal(c.Body[5:], req); err != nil {
		f.t.Fatal(err)
	}
	out, line := &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OK}, []string{req.GetDomain()}
	for _, d := range req.GetDescriptors() {
		var parts []string
		for _, e := range d.GetEntries() {
			parts = append(parts, e.GetKey()+"="+e.GetValue())
		}
		if l := d.GetLimit(); l != nil {
			parts = append(parts, fmt.Sprintf("%d/%s", l.GetRequestsPerUnit(), l.GetUnit()))
		}
		if n := d.GetHitsAddend(); n != nil {
			f.hits = append(f.hits, n.GetValue())
		}
		key := strings.Join(parts, ",")
		line = append(line, key)
		f.seen[key]++
		st := &rlsv3.RateLimitResponse_DescriptorStatus{Code: rlsv3.RateLimitResponse_OK, LimitRemaining: uint32(max(0, 2-f.seen[key])),
			DurationUntilReset: durationpb.New(time.Minute)}
		if f.seen[key] > 2 {
			out.OverallCode, st.Code = rlsv3.RateLimitResponse_OVER_LIMIT, rlsv3.RateLimitResponse_OVER_LIMIT
			st.DurationUntilReset = durationpb.New(30 * time.Second)
		}
		out.Statuses = append(out.Statuses, st)
	}
	f.asked = append(f.asked, strings.Join(line, " "))
	if f.broken != nil {
		return *f.broken
	}
	return filter.Answer{Headers: []filter.Header{{Name: ":status", Value: "200"}}, Body: frame(marshal(f.t, out))}
}

func globalRunner(t *testing.T, config string) (*filtertest.Runner, *fakeRLS) {
	t.Helper()
	c, err := ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(c, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeRLS{t: t, seen: map[string]int{}}
	return &filtertest.Runner{Base: filtertest.Single("ratelimit", p), Answer: f.answer, Clock: filtertest.NewClock(), Host: &filtertest.Host{}}, f
}

const globalLimits = `{"global":{"cluster":"rls"%s},"limits":[
	{"name":"g","requests":4,"per":"1m","scope":"global","key":[{"header":"x-user"}],"overrides":[{"key":["gold"],"requests":9,"per":"1h"}]},
	{"name":"s","requests":1,"per":"1m","scope":"global","action":"shadow","match":[{"path":{"prefix":"/s"}}]},
	{"name":"l","requests":3,"per":"1m","match":[{"path":{"prefix":"/l"}}]}]}`

func TestGlobalAsks(t *testing.T) {
	r, f := globalRunner(t, fmt.Sprintf(globalLimits, ""))
	for i, c := range []struct{ status, remaining string }{{"200", "1"}, {"200", "0"}, {"429", "0"}, {"429", "0"}} {
		res := r.Do("x-user: ann")
		if res.Status() != c.status || res.Response.Value("x-ratelimit-remaining") != c.remaining || res.Response.Value("x-ratelimit-limit") != "4, 4;w=60" {
			t.Errorf("request %d: %s %v", i, res.Status(), res.Response.All())
		}
		if i == 1 && res.Response.Value("x-ratelimit-reset") != "60" || i > 1 && res.Response.Value("retry-after") != "30" {
			t.Errorf("request %d: %v", i, res.Response.All())
		}
	}
	if len(f.asked) != 3 {
		t.Errorf("asked %d times, want 3: the refusal is remembered: %q", len(f.asked), f.asked)
	}
	r.Do("x-user: gold")
	r.Do("x-user: \xff")
	r.Do(":path: /s")
	want := []string{"mizzen limit=g,key=gold,9/HOUR", "mizzen limit=g,key=hex:ff", "mizzen limit=g,key= limit=s"}
	if got := f.asked[3:]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%q, want\n%q", got, want)
	}
	for series, want := range map[string]int64{"ok": 5, "limited": 1, "cached": 1} {
		if n := r.Host.Counted(metricService, series); n != want {
			t.Errorf("%s counted %d, want %d", series, n, want)
		}
	}
	if ok, limited := r.Host.Counted(metricRequests, "g", "ok", "global"), r.Host.Counted(metricRequests, "g", "limited", "global"); ok != 5 || limited != 2 {
		t.Errorf("ok %d, limited %d, want 5 and 2", ok, limited)
	}
}

// A refusal is believed for 10 s: then the service, which may have new numbers, is asked again.
func TestGlobalRefusalsEnd(t *testing.T) {
	r, f := globalRunner(t, fmt.Sprintf(globalLimits, ""))
	for range 4 {
		r.Do("x-user: ann")
	}
	r.Clock.Advance(9 * time.Second)
	if res := r.Do("x-user: ann"); res.Status() != "429" || res.Response.Value("retry-after") != "21" || len(f.asked) != 3 {
		t.Errorf("after 9 s: %v, asked %d times", res.Response.All(), len(f.asked))
	}
	r.Clock.Advance(time.Second)
	if r.Do("x-user: ann"); len(f.asked) != 4 {
		t.Errorf("after 10 s: asked %d times, want 4", len(f.asked))
	}
	r.Clock.Advance(-time.Hour) // somebody sets the clock
	if r.Do("x-user: ann"); len(f.asked) != 5 {
		t.Errorf("after the clock was set back: asked %d times, want 5", len(f.asked))
	}
}

func TestGlobalShadowRefusesNobody(t *testing.T) {
	r, _ := globalRunner(t, fmt.Sprintf(globalLimits, ""))
	for i := range 5 {
		if res := r.Do(":path: /s", fmt.Sprintf("x-user: %d", i)); res.Status() != "200" {
			t.Errorf("request %d: %s", i, res.Status())
		}
	}
	if n := r.Host.Counted(metricRequests, "s", "shadow_limited", "global"); n != 3 {
		t.Errorf("shadow_limited counted %d, want 3", n)
	}
}

// A local limit that is over is not asked for, and one that passes is counted only if the service lets the request pass.
func TestGlobalAndLocal(t *testing.T) {
	r, f := globalRunner(t, fmt.Sprintf(globalLimits, ""))
	for i, want := range []string{"200", "200", "429", "429", "200", "429"} {
		user := "ann"
		if i > 3 {
			user = fmt.Sprint(i)
		}
		if res := r.Do(":path: /l", "x-user: "+user); res.Status() != want {
			t.Errorf("request %d: %s, want %s", i, res.Status(), want)
		}
	}
	if len(f.asked) != 4 {
		t.Errorf("asked %d times, want 4: %q", len(f.asked), f.asked)
	}
	if n := r.Host.Counted(metricRequests, "l", "ok", "local"); n != 3 {
		t.Errorf("the local limit counted %d, want 3", n)
	}
}

func TestGlobalAway(t *testing.T) {
	unary := func(status, grpc string) filter.Answer {
		return filter.Answer{Headers: []filter.Header{{Name: ":status", Value: status}, {Name: "grpc-status", Value: grpc}}}
	}
	few := marshal(t, &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OK})
	broken := map[string]filter.Answer{
		"reset": {Err: "reset"}, "503": unary("503", "0"), "grpc": unary("200", "14"), "empty": unary("200", "0"),
		"statuses": {Headers: []filter.Header{{Name: ":status", Value: "200"}}, Body: frame(few)},
		"unknown":  {Headers: []filter.Header{{Name: ":status", Value: "200"}}, Body: frame(nil)},
	}
	for _, c := range []struct{ more, want string }{
		{"", "200 200 200 200 429 429"}, {`,"localShare":0.5`, "200 200 429 429 429 429"}, {`,"localShare":0.1`, "200 429 429 429 429 429"},
		{`,"onError":"allow"`, "200 200 200 200 200 200"}, {`,"onError":"deny"`, "503 503 503 503 503 503"},
	} {
		for name, answer := range broken {
			t.Run(name+c.more, func(t *testing.T) {
				r, f := globalRunner(t, fmt.Sprintf(globalLimits, c.more))
				f.broken = &answer
				var got []string
				for range 6 {
					got = append(got, r.Do("x-user: ann").Status())
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("answers %s, want %s", got, c.want)
				}
				if len(f.asked) != maxFailures || r.Host.Counted(metricService, "error") != maxFailures || r.Host.Counted(metricService, "skipped") != 3 {
					t.Errorf("asked %d times, want %d; %q", len(f.asked), maxFailures, r.Host.Series())
				}
				if r.Host.Annotations["ratelimit_service"] == "" {
					t.Error("the access log is not told why")
				}
				r.Clock.Advance(pause)
				r.Do("x-user: ann")
				r.Do("x-user: ann")
				if len(f.asked) != maxFailures+1 {
					t.Errorf("after the pause asked %d times, want one try", len(f.asked)-maxFailures)
				}
				f.broken, f.seen = nil, map[string]int{}
				r.Clock.Advance(pause)
				if s := r.Do("x-user: bob").Status() + r.Do("x-user: bob").Status() + r.Do("x-user: bob").Status(); s != "200200429" {
					t.Errorf("after it came back: %s", s)
				}
			})
		}
	}
}

// The client goes away while the service is asked: nothing is held, nothing panics.
func TestGlobalClientGoesAway(t *testing.T) {
	c, err := ParseConfig([]byte(`{"global":{"cluster":"rls"},"limits":[{"name":"g","requests":1,"per":"1m","scope":"global"},{"name":"c","concurrency":1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(c, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		x := filtertest.NewExchange()
		if v := p.Request(x); v.Call == nil {
			t.Fatalf("verdict %+v", v)
		}
		p.(filter.Ender).End(x)
	}
}
