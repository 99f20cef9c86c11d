package tracing

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func exporting(t testing.TB, env *filter.Env, more string) (*Policy, *exporter) {
	t.Helper()
	p, err := Kind().New([]byte(`{"export":{"protocol":"zipkin","cluster":"zipkin","service":"shop","kind":"server"`+more+`}}`), env)
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Policy), p.(filter.Sender).Outbox().(*exporter)
}

// fill queues n spans of one byte.
func fill(e *exporter, n int, now time.Time) (taken int) {
	for range n {
		if e.put([]byte("{}"), now) {
			taken++
		}
	}
	return taken
}

func answered(status int, headers ...filter.Header) *filter.Answer {
	return &filter.Answer{Headers: append([]filter.Header{{Name: ":status", Value: fmt.Sprint(status)}}, headers...)}
}

func TestBatches(t *testing.T) {
	_, e := exporting(t, filtertest.Env(), `,"maxBatch":100,"interval":"1s"`)
	h, clock := &filtertest.Host{}, filtertest.NewClock()
	if e.Next(clock.Now(), h) != nil || !e.Empty() {
		t.Fatal("a call, although nothing waits")
	}
	fill(e, 3, clock.Now())
	clock.Advance(999 * time.Millisecond)
	if e.Next(clock.Now(), h) != nil || e.Empty() {
		t.Fatal("sent before the interval is over")
	}
	clock.Advance(time.Millisecond)
	c := e.Next(clock.Now(), h)
	if c == nil || c.Cluster != "zipkin" || string(c.Body) != "[{},{},{}]" || c.Timeout != defaultTimeout {
		t.Fatalf("call %+v", c)
	}
	fill(e, 250, clock.Now())
	if e.Next(clock.Now(), h) != nil {
		t.Fatal("a second call while one is under way")
	}
	e.Answered(c, answered(202), clock.Now(), h)
	for _, want := range []int{100, 100} { // full ones do not wait
		c := e.Next(clock.Now(), h)
		if c == nil || strings.Count(string(c.Body), "{}") != want {
			t.Fatalf("call %+v, want %d spans", c, want)
		}
		e.Answered(c, answered(202), clock.Now(), h)
	}
	if e.Next(clock.Now(), h) != nil {
		t.Fatal("the rest did not wait")
	}
	if h.Counted(metricExported) != 203 || h.Counted(metricBatches, "ok") != 3 {
		t.Errorf("counted %v", h.Counts())
	}
}

func TestCallHeaders(t *testing.T) {
	for _, c := range []struct{ more, protocol, cluster, path, host, contentType string }{
		{"", Zipkin, "zipkin", "/api/v2/spans", "zipkin", "application/json"},
		{"", OTLP, "outbound|4318||otel.obs.svc.cluster.local", "/v1/traces", "otel.obs.svc.cluster.local:4318", "application/x-protobuf"},
		{`,"path":"/x","host":"h:1"`, OTLP, "otel", "/x", "h:1", "application/x-protobuf"},
		{"", Zipkin, "my cluster", "/api/v2/spans", "collector", "application/json"},
	} {
		raw := fmt.Sprintf(`{"export":{"protocol":%q,"cluster":%q,"service":"s","kind":"client"%s}}`, c.protocol, c.cluster, c.more)
		p, err := Kind().New([]byte(raw), filtertest.Env())
		if err != nil {
			t.Fatal(err)
		}
		e := p.(filter.Sender).Outbox().(*exporter)
		h := filter.NewHeaders(e.headers)
		if e.cluster != c.cluster || h.Value(":method") != "POST" || h.Value(":path") != c.path || h.Value("host") != c.host || h.Value("content-type") != c.contentType {
			t.Errorf("%s: cluster %s, headers %v", raw, e.cluster, e.headers)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	_, e := exporting(t, filtertest.Env(), `,"maxBatch":300`)
	now := filtertest.NewClock().Now()
	if n := fill(e, 5000, now); n != 2400 {
		t.Errorf("%d spans taken, want 8 batches", n)
	}
	_, e = exporting(t, filtertest.Env(), "")
	big := make([]byte, 1<<20)
	for i := range 10 {
		if got := e.put(big, now); got != (i < 8) {
			t.Errorf("span %d of 1 MiB taken: %v", i, got)
		}
	}
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	p, e := exporting(t, filtertest.Env(), "")
	fill(e, 5000, filtertest.NewClock().Now())
	res := (&filtertest.Runner{Base: filtertest.Single("tracing", p)}).Do()
	if res.Status() != "200" || res.Host.Counted(metricDropped, queueFull) != 1 {
		t.Errorf("status %s, counted %v", res.Status(), res.Host.Counts())
	}
}

func TestRetries(t *testing.T) {
	away, busy := &filter.Answer{Err: "reset"}, answered(503)
	for _, c := range []struct {
		name    string
		answers []*filter.Answer
		pauses  []time.Duration // before each call after the first
		reason  string          // why the span is lost; "": it is not
	}{
		{"away for ever", []*filter.Answer{away, busy, away, busy}, []time.Duration{1, 2, 4}, unreachable},
		{"away for a while", []*filter.Answer{away, answered(429), answered(200)}, []time.Duration{1, 2}, ""},
		{"asks for a pause", []*filter.Answer{answered(503, filter.Header{Name: "retry-after", Value: "7"}), answered(200)}, []time.Duration{7}, ""},
		{"asks for too long a pause", []*filter.Answer{answered(503, filter.Header{Name: "retry-after", Value: "99999999999"}), answered(200)}, []time.Duration{30}, ""},
		{"refuses", []*filter.Answer{answered(400)}, nil, refused},
		{"redirects", []*filter.Answer{answered(302)}, nil, refused},
		{"says nothing", []*filter.Answer{{}, answered(200)}, []time.Duration{1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, e := exporting(t, filtertest.Env(), "")
			h, clock := &filtertest.Host{}, filtertest.NewClock()
			fill(e, 2, clock.Now())
			clock.Advance(time.Second)
			for i, a := range c.answers {
				if i > 0 {
					clock.Advance(c.pauses[i-1]*time.Second - 1)
					if e.Next(clock.Now(), h) != nil {
						t.Fatalf("call %d comes too early", i)
					}
					clock.Advance(1)
				}
				call := e.Next(clock.Now(), h)
				if call == nil || string(call.Body) != "[{},{}]" {
					t.Fatalf("call %d: %+v", i, call)
				}
				e.Answered(call, a, clock.Now(), h)
				e.Answered(call, a, clock.Now(), h) // a host's mistake: nothing happens
			}
			lost := int64(0)
			if c.reason != "" {
				lost = 2
			}
			if !e.Empty() || h.Counted(metricExported) != 2-lost || c.reason != "" && h.Counted(metricDropped, c.reason) != lost {
				t.Errorf("empty %v, counted %v", e.Empty(), h.Counts())
			}
		})
	}
}

func TestALostCallDoesNotStopTheExporter(t *testing.T) {
	_, e := exporting(t, filtertest.Env(), "")
	h, clock := &filtertest.Host{}, filtertest.NewClock()
	fill(e, 1, clock.Now())
	clock.Advance(time.Second)
	first := e.Next(clock.Now(), h)
	fill(e, 1, clock.Now())
	clock.Advance(time.Minute)
	second := e.Next(clock.Now(), h)
	if first == nil || second == nil || h.Counted(metricDropped, unreachable) != 1 {
		t.Fatalf("calls %v, %v, counted %v", first, second, h.Counts())
	}
	e.Answered(first, answered(200), clock.Now(), h)
	if h.Counted(metricExported) != 0 || e.Empty() {
		t.Error("the late answer was taken for the second call's")
	}
}

func TestUpdateOfTheConfiguration(t *testing.T) {
	env := filtertest.Env()
	_, before := exporting(t, env, "")
	h, clock := &filtertest.Host{}, filtertest.NewClock()
	fill(before, 3, clock.Now())
	_, after := exporting(t, env, `,"maxBatch":2,"interval":"30s"`)
	_, other := exporting(t, env, `,"path":"/elsewhere"`)
	if before != after || before == other {
		t.Error("one exporter per collector and service, kept over an update")
	}
	if c := after.Next(clock.Now(), h); c == nil || string(c.Body) != "[{},{}]" {
		t.Errorf("the new batch size does not hold: %+v", c)
	}
}

func TestCloseSendsWhatWaits(t *testing.T) {
	_, e := exporting(t, filtertest.Env(), "")
	h, clock := &filtertest.Host{}, filtertest.NewClock()
	fill(e, 3, clock.Now())
	e.Close()
	c := e.Next(clock.Now(), h)
	if c == nil || e.Empty() {
		t.Fatal("what waits is not sent at once")
	}
	e.Answered(c, &filter.Answer{Err: "reset"}, clock.Now(), h)
	if !e.Empty() || h.Counted(metricDropped, unreachable) != 3 {
		t.Errorf("tried again after Close: empty %v, counted %v", e.Empty(), h.Counts())
	}
}

func TestAClockSetBackHoldsNothingUp(t *testing.T) {
	_, e := exporting(t, filtertest.Env(), "")
	now := filtertest.NewClock().Now()
	fill(e, 1, now)
	if e.Next(now.Add(-time.Hour), &filtertest.Host{}) == nil {
		t.Error("held up")
	}
}

// sent plays one exchange in zipkin's format, and returns its span.
func sent(t *testing.T, r *filtertest.Runner, e *exporter, lines ...string) map[string]any {
	t.Helper()
	r.Do(lines...)
	e.Close()
	c := e.Next(r.Clock.Now(), &filtertest.Host{})
	if c == nil {
		t.Fatal("no span")
	}
	e.Answered(c, answered(202), r.Clock.Now(), &filtertest.Host{})
	var out []map[string]any
	if err := json.Unmarshal(c.Body, &out); err != nil || len(out) != 1 {
		t.Fatalf("%v in %s", err, c.Body)
	}
	return out[0]
}
