package golang

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// envoy is a fake of what a stream may call. What it does not override panics: the host must not need it.
type envoy struct {
	api.FilterCallbackHandler
	mu        sync.Mutex
	metadata  map[string]any
	continued atomic.Int32
	replied   atomic.Int32
}

func (e *envoy) DecoderFilterCallbacks() api.DecoderFilterCallbacks { return decoder{e} }
func (e *envoy) EncoderFilterCallbacks() api.EncoderFilterCallbacks { return decoder{e} }
func (e *envoy) StreamInfo() api.StreamInfo                         { return info{e: e} }

type decoder struct{ *envoy }

func (d decoder) Continue(api.StatusType) { d.continued.Add(1) }
func (d decoder) SendLocalReply(int, string, map[string][]string, int64, string) {
	d.replied.Add(1)
}
func (d decoder) RecoverPanic()                              {}
func (d decoder) AddData([]byte, bool)                       {}
func (d decoder) InjectData([]byte)                          {}
func (d decoder) SetUpstreamOverrideHost(string, bool) error { return nil }

type info struct {
	api.StreamInfo
	e *envoy
}

func (i info) DynamicMetadata() api.DynamicMetadata { return metadata{i.e} }

type metadata struct{ e *envoy }

func (m metadata) Get(string) map[string]any { return nil }
func (m metadata) Set(_, key string, value any) {
	m.e.mu.Lock()
	defer m.e.mu.Unlock()
	m.e.metadata[key] = value
}

// headers is a header map.
type headers struct {
	api.RequestHeaderMap
	mu sync.Mutex
	m  map[string]string
}

func (h *headers) Status() (int, bool) { return 200, true }
func (h *headers) Set(k, v string)     { h.mu.Lock(); defer h.mu.Unlock(); h.m[k] = v }
func (h *headers) Add(k, v string)     { h.Set(k, v) }
func (h *headers) Del(k string)        { h.mu.Lock(); defer h.mu.Unlock(); delete(h.m, k) }
func (h *headers) Range(f func(k, v string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, v := range h.m {
		if !f(k, v) {
			return
		}
	}
}

// counters defines metrics.
type counters struct {
	mu sync.Mutex
	m  map[string]int64
}

type counter struct {
	c    *counters
	name string
}

func (c *counters) DefineCounterMetric(name string) api.CounterMetric { return counter{c, name} }
func (c *counters) DefineGaugeMetric(name string) api.GaugeMetric     { return counter{c, name} }
func (c counter) Increment(n int64)                                   { c.c.mu.Lock(); defer c.c.mu.Unlock(); c.c.m[c.name] += n }
func (c counter) Get() uint64                                         { return 0 }
func (c counter) Record(uint64)                                       {}

// waiter waits a little, edits, and counts.
type waiter struct{}

var (
	seen  = &filter.Metric{Name: "seen_total", Labels: []string{"path", "kind"}}
	going = &filter.Metric{Name: "going", Gauge: true}
)

func (waiter) Request(x *filter.Exchange) filter.Verdict {
	if !x.Resumed() {
		x.Host.Count(going, 1)
		return filter.Verdict{Wait: time.Microsecond * time.Duration(1+x.Rand.Uint64()%300)}
	}
	x.Host.Count(seen, 1, x.Request.Value(":path"), "")
	x.Request.Set("x-seen", "1")
	x.Host.Flag("W")
	return filter.Verdict{}
}

func (waiter) Response(x *filter.Exchange) filter.Verdict {
	x.Response.Set("x-seen", x.Request.Value("x-seen"))
	return filter.Verdict{}
}

func (waiter) End(x *filter.Exchange) { x.Host.Count(going, -1) }

func kinds() []filter.Kind {
	return []filter.Kind{{Name: "waiter", New: func([]byte, *filter.Env) (filter.Policy, error) { return waiter{}, nil }}}
}

func parse(t *testing.T, p *Parser, raw string, c api.ConfigCallbackHandler) any {
	t.Helper()
	in, err := anypb.New(wrapperspb.String(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Parse(in, c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRaces is for the race detector: timers against the end of the stream and against Envoy's own answer.
func TestRaces(t *testing.T) {
	const n = 300
	c := &counters{m: map[string]int64{}}
	p := NewParser(kinds())
	cfg := parse(t, p, `{"waiter":{}}`, c)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			e := &envoy{metadata: map[string]any{}}
			f := p.Factory(cfg, e)
			if got := f.DecodeHeaders(&headers{m: map[string]string{":path": "/a b"}}, true); got != api.Running {
				t.Errorf("status %v, want Running", got)
			}
			time.Sleep(time.Duration(i) * time.Microsecond) // the race is the point
			if i%2 == 0 {
				f.EncodeHeaders(&headers{m: map[string]string{":status": "408"}}, true)
			}
			f.OnStreamComplete()
			f.OnDestroy(api.Terminate)
			if got := e.continued.Load(); got > 1 {
				t.Errorf("continued %d times", got)
			}
		})
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m["mizzen.going"] != 0 || c.m["mizzen.seen_total.path._a_b.kind.none"] > n {
		t.Errorf("metrics %v", c.m)
	}
}

// TestMerge: slots win by level, and what is off stays off for the next level.
func TestMerge(t *testing.T) {
	p := NewParser(kinds())
	c := &counters{m: map[string]int64{}}
	listener, off, empty := parse(t, p, `{"waiter":{}}`, c), parse(t, p, `{"waiter":null}`, nil), parse(t, p, `{"failure":"closed"}`, nil)
	cases := []struct {
		name          string
		merged        any
		on, off, shut bool
	}{
		{"listener", listener, true, false, false},
		{"off", p.Merge(listener, off), false, true, false},
		{"empty", p.Merge(listener, empty), true, false, true},
		{"off, then empty", p.Merge(p.Merge(listener, off), empty), false, true, true},
		{"on again", p.Merge(off, listener), true, false, false},
		{"routes first", p.Merge(listener, p.Merge(off, empty)), false, true, true},
	}
	for _, tc := range cases {
		got := tc.merged.(*config)
		if on, off := got.program.Policies[0] != nil, got.program.Disabled[0]; on != tc.on || off != tc.off || got.program.FailClosed != tc.shut {
			t.Errorf("%s: on %v, off %v, fail closed %v", tc.name, on, off, got.program.FailClosed)
		}
		if got.ledger == nil {
			t.Errorf("%s: nothing would count", tc.name)
		}
	}
	if p.Merge(nil, listener) != listener || p.Merge(listener, nil) != listener {
		t.Error("a foreign configuration is not passed over")
	}
}

// TestSeries: labels in names, and a bound on their number.
func TestSeries(t *testing.T) {
	c := &counters{m: map[string]int64{}}
	l := newLedger(c)
	l.count(seen, 2, []string{"/a.b", "x y"})
	l.count(seen, 1, []string{"/a.b", "x y"})
	l.count(seen, 1, []string{"too few"})
	if len(c.m) != 1 || c.m["mizzen.seen_total.path._a_b.kind.x_y"] != 3 {
		t.Errorf("metrics %v", maps.Clone(c.m))
	}
	for i := range maxSeries + 10 {
		l.count(seen, 1, []string{fmt.Sprint(i), ""})
	}
	if c.m["mizzen.seen_total.other"] != 11 || len(c.m) != maxSeries+1 {
		t.Errorf("%d series, %d in other", len(c.m), c.m["mizzen.seen_total.other"])
	}
}

// TestParsePanics: nothing above Parse recovers in Envoy.
func TestParsePanics(t *testing.T) {
	bad := filter.Kind{Name: "bad", New: func([]byte, *filter.Env) (filter.Policy, error) { panic("no") }}
	in, _ := anypb.New(wrapperspb.String(`{"bad":{}}`))
	if _, err := NewParser([]filter.Kind{bad}).Parse(in, nil); err == nil || !strings.Contains(err.Error(), "panic: no") {
		t.Errorf("error %v", err)
	}
}
