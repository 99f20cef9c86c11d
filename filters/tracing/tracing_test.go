package tracing

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

var traceHeaders = []string{traceparent, tracestate, b3Single, b3TraceID, b3SpanID, b3ParentID, b3Sampled, b3Flags, uberTraceID, otContext}

func newPolicy(t *testing.T, c Config) filter.Policy {
	t.Helper()
	p, err := New(c, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// do runs one request through the policy and returns its exchange.
func do(p filter.Policy, headers ...string) *filter.Exchange {
	x := filtertest.NewExchange(headers...)
	p.Request(x)
	return x
}

func counted(x *filter.Exchange, m *filter.Metric, labels ...string) int64 {
	return x.Host.(*filtertest.Host).Counted(m, labels...)
}

// propagation is what one hop makes of the contexts in a request's headers.
type propagation struct {
	name    string
	config  Config
	in      []string
	want    map[string]string
	source  string
	sampled string
	invalid string // formats counted, joined
}

func propagations() []propagation {
	const (
		ids   = traceHex + "-" + spanHex
		other = "11111111111111112222222222222222"
		low   = "00000000000000008448eb211c80319c"
	)
	all := []Format{W3C, B3, B3Multi, Jaeger, OT}
	return []propagation{
		{"new trace, default formats", Config{}, nil,
			map[string]string{traceparent: "00-N-S-01", b3TraceID: "N", b3SpanID: "S", b3Sampled: "1"}, "new", "true", ""},
		{"new trace, all formats", Config{Inject: all}, nil,
			map[string]string{traceparent: "00-N-S-01", b3Single: "N-S-1", b3TraceID: "N", b3SpanID: "S", b3Sampled: "1",
				uberTraceID: "N:S:0:1", otContext: "R"}, "new", "true", ""},
		{"w3c", Config{Inject: all[:4]}, []string{"traceparent: 00-" + ids + "-01", "tracestate: rojo=1,congo=2"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", tracestate: "rojo=1,congo=2",
				b3Single: traceHex + "-S-1-" + spanHex, b3TraceID: traceHex, b3SpanID: "S", b3ParentID: spanHex, b3Sampled: "1",
				uberTraceID: traceHex + ":S:" + spanHex + ":1"}, "w3c", "true", ""},
		{"w3c not sampled", Config{}, []string{"traceparent: 00-" + ids + "-00"},
			map[string]string{traceparent: "00-" + traceHex + "-S-00", b3TraceID: traceHex, b3SpanID: "S", b3ParentID: spanHex,
				b3Sampled: "0"}, "w3c", "false", ""},
		{"w3c of a later version is answered with 00", Config{Inject: all[:1]}, []string{"traceparent: cc-" + ids + "-01-more"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01"}, "w3c", "true", ""},
		{"b3 with debug", Config{Inject: all[:4]}, []string{"b3: " + ids + "-d", "x-b3-sampled: 1"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", b3Single: traceHex + "-S-d-" + spanHex,
				b3TraceID: traceHex, b3SpanID: "S", b3ParentID: spanHex, b3Flags: "1",
				uberTraceID: traceHex + ":S:" + spanHex + ":3"}, "b3", "true", ""},
		{"b3multi, 64 bits are padded", Config{}, []string{"x-b3-traceid: 8448EB211C80319C", "x-b3-spanid: " + spanHex,
			"x-b3-parentspanid: 05e3ac9a4f6e3b90", "x-b3-sampled: 1"},
			map[string]string{traceparent: "00-" + low + "-S-01", b3TraceID: low, b3SpanID: "S", b3ParentID: spanHex,
				b3Sampled: "1"}, "b3multi", "true", ""},
		{"b3multi debug", Config{}, []string{"x-b3-traceid: " + traceHex, "x-b3-spanid: " + spanHex, "x-b3-flags: 1", "x-b3-sampled: 0"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", b3TraceID: traceHex, b3SpanID: "S", b3ParentID: spanHex,
				b3Flags: "1"}, "b3multi", "true", ""},
		{"b3multi deferred decision is taken here", Config{}, []string{"x-b3-traceid: " + traceHex, "x-b3-spanid: " + spanHex, "x-b3-flags: 0"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", b3TraceID: traceHex, b3SpanID: "S", b3ParentID: spanHex,
				b3Sampled: "1"}, "b3multi", "true", ""},
		{"b3 decision alone", Config{}, []string{"b3: 0"},
			map[string]string{traceparent: "00-N-S-00", b3Single: "N-S-0", b3TraceID: "N", b3SpanID: "S", b3Sampled: "0"},
			"new", "false", ""},
		{"a decision alone yields to a context", Config{}, []string{"b3: 0", "uber-trace-id: " + traceHex + ":" + spanHex + ":0:1"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", b3Single: traceHex + "-S-1-" + spanHex, b3TraceID: traceHex,
				b3SpanID: "S", b3ParentID: spanHex, b3Sampled: "1", uberTraceID: traceHex + ":S:" + spanHex + ":1"}, "jaeger", "true", ""},
		{"jaeger", Config{Inject: all[:1]}, []string{"uber-trace-id: 8448eb211c80319c:" + spanHex + ":0:1"},
			map[string]string{traceparent: "00-" + low + "-S-01", uberTraceID: low + ":S:" + spanHex + ":1"}, "jaeger", "true", ""},
		{"ot text is answered in base64", Config{Inject: all[:1]}, []string{"x-ot-span-context: 8448eb211c80319c;" + spanHex + ";0;cs"},
			map[string]string{traceparent: "00-" + low + "-S-01", otContext: "R"}, "ot", "true", ""},
		{"disagreeing: the first of extract wins, the others are rewritten", Config{},
			[]string{"traceparent: 00-" + ids + "-01", "b3: " + other + "-" + spanHex + "-0", "x-b3-traceid: " + other,
				"x-b3-spanid: 1234567812345678", "x-b3-sampled: 0", "uber-trace-id: " + other + ":1:0:0"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", b3Single: traceHex + "-S-1-" + spanHex, b3TraceID: traceHex,
				b3SpanID: "S", b3ParentID: spanHex, b3Sampled: "1", uberTraceID: traceHex + ":S:" + spanHex + ":1"}, "w3c", "true", ""},
		{"another order", Config{Extract: []Format{B3, W3C}},
			[]string{"traceparent: 00-" + other + "-" + spanHex + "-01", "tracestate: a=b", "b3: " + ids + "-0"},
			map[string]string{traceparent: "00-" + traceHex + "-S-00", b3Single: traceHex + "-S-0-" + spanHex, b3TraceID: traceHex,
				b3SpanID: "S", b3ParentID: spanHex, b3Sampled: "0"}, "b3", "false", ""},
		{"tracestate stays with its own trace", Config{Extract: []Format{B3}, Inject: all[:1]},
			[]string{"traceparent: 00-" + traceHex + "-1234567812345678-01", "tracestate: a=b", "b3: " + ids + "-1"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", tracestate: "a=b", b3Single: traceHex + "-S-1-" + spanHex},
			"b3", "true", ""},
		{"tracestate alone goes", Config{Inject: all[:1]}, []string{"tracestate: a=b"},
			map[string]string{traceparent: "00-N-S-01"}, "new", "true", ""},
		{"tracestate of an invalid traceparent goes", Config{Inject: all[:1]}, []string{"traceparent: 00-x", "tracestate: a=b"},
			map[string]string{traceparent: "00-N-S-01"}, "new", "true", "w3c"},
		{"tracestate in two headers", Config{Inject: all[:1]}, []string{"traceparent: 00-" + ids + "-01", "tracestate: a=b", "tracestate: c=d"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", tracestate: "a=b,c=d"}, "w3c", "true", ""},
		{"two traceparents are none", Config{Inject: all[:1]}, []string{"traceparent: 00-" + ids + "-01", "traceparent: 00-" + ids + "-01"},
			map[string]string{traceparent: "00-N-S-01"}, "new", "true", "w3c"},
		{"malformed ones are replaced and counted, the next is taken", Config{Inject: all[:1]},
			[]string{"traceparent: bad", "b3: bad", "x-b3-traceid: bad", "uber-trace-id: " + traceHex + ":" + spanHex + ":0:1", "x-ot-span-context: bad"},
			map[string]string{traceparent: "00-" + traceHex + "-S-01", b3Single: traceHex + "-S-1-" + spanHex, b3TraceID: traceHex,
				b3SpanID: "S", b3ParentID: spanHex, b3Sampled: "1", uberTraceID: traceHex + ":S:" + spanHex + ":1", otContext: "R"},
			"jaeger", "true", "w3c b3 b3multi"},
		{"a format that is not read is still rewritten", Config{Extract: all[:1], Inject: all[:1]}, []string{"b3: " + ids + "-1"},
			map[string]string{traceparent: "00-N-S-01", b3Single: "N-S-1"}, "new", "true", ""},
	}
}

// check compares the trace headers of a request. In want, S stands for the new span id, N for a new trace id, and R
// for a base64 text; what is not in want must be absent.
func check(t *testing.T, x *filter.Exchange, want map[string]string) {
	t.Helper()
	ids := map[byte]string{}
	for _, name := range traceHeaders {
		got, ok := x.Request.Joined(name)
		pattern, wanted := want[name]
		if ok != wanted {
			t.Errorf("%s: %q, present %v; want %q, present %v", name, got, ok, pattern, wanted)
			continue
		}
		at := 0
		for i := 0; i < len(pattern); i++ {
			size := map[byte]int{'S': 16, 'N': 32, 'R': 32}[pattern[i]]
			if size == 0 {
				if at >= len(got) || got[at] != pattern[i] {
					t.Errorf("%s: %q, want %q", name, got, pattern)
					break
				}
				at++
				continue
			}
			if at+size > len(got) {
				t.Errorf("%s: %q, want %q", name, got, pattern)
				break
			}
			id := got[at : at+size]
			if before := ids[pattern[i]]; before != "" && before != id {
				t.Errorf("%s: %q has %s where others have %s", name, got, id, before)
			}
			ids[pattern[i]] = id
			at += size
		}
		if at < len(got) && !t.Failed() {
			t.Errorf("%s: %q, want %q", name, got, pattern)
		}
	}
	for k, id := range ids {
		if k != 'R' && (strings.Trim(id, "0") == "" || id == spanHex || id == traceHex) {
			t.Errorf("id %c is %q, want a new one", k, id)
		}
	}
}

func TestPropagation(t *testing.T) {
	for _, c := range propagations() {
		t.Run(c.name, func(t *testing.T) {
			plain := do(newPolicy(t, c.config), c.in...)
			if got := plain.Host.(*filtertest.Host).Annotations; len(got) > 0 {
				t.Errorf("annotated %v without being asked to", got)
			}
			c.config.Annotate = true
			x := do(newPolicy(t, c.config), c.in...)
			check(t, x, c.want)
			if counted(x, metricContexts, c.source, c.sampled) != 1 {
				t.Errorf("counted %v, want %s, %s", x.Host.(*filtertest.Host).Series(), c.source, c.sampled)
			}
			var invalid []string
			for _, f := range formats() {
				if counted(x, metricInvalid, string(f)) > 0 {
					invalid = append(invalid, string(f))
				}
			}
			if got := strings.Join(invalid, " "); got != c.invalid {
				t.Errorf("counted as invalid: %q, want %q", got, c.invalid)
			}
			if got := x.Host.(*filtertest.Host).Annotations["trace_id"]; c.want[traceparent] != "" && got != x.Request.Value(traceparent)[3:35] {
				t.Errorf("annotated %q, traceparent is %q", got, x.Request.Value(traceparent))
			}
		})
	}
}

// TestChain: over several hops one trace, each span the child of the one before, whatever the formats between.
func TestChain(t *testing.T) {
	inject := [][]Format{{W3C}, {B3}, {B3Multi}, {Jaeger}, {W3C, B3, B3Multi, Jaeger, OT}, {OT}, {W3C}}
	x := do(newPolicy(t, Config{Inject: inject[0]}))
	trace, parent := x.Request.Value(traceparent)[3:35], x.Request.Value(traceparent)[36:52]
	for hop, formats := range inject[1:] {
		var lines []string
		for _, name := range traceHeaders {
			if v, ok := x.Request.Get(name); ok {
				lines = append(lines, name+": "+v)
			}
		}
		x = filtertest.NewExchange(lines...)
		x.Rand = filtertest.Rand(uint64(hop + 2))
		if !slices.Contains(formats, B3Multi) { // it tells the parent
			formats = append(formats, B3Multi)
		}
		newPolicy(t, Config{Inject: formats}).Request(x)
		if got := x.Request.Value(b3TraceID); got != trace {
			t.Fatalf("hop %d: trace %s, want %s", hop, got, trace)
		}
		if got := x.Request.Value(b3ParentID); got != parent {
			t.Fatalf("hop %d: parent %s, want %s", hop, got, parent)
		}
		parent = x.Request.Value(b3SpanID)
	}
}

func TestSampling(t *testing.T) {
	none, half := filter.Percent(0), filter.PercentOf(50)
	yes, no := "traceparent: 00-"+traceHex+"-"+spanHex+"-01", "traceparent: 00-"+traceHex+"-"+spanHex+"-00"
	for _, c := range []struct {
		name string
		s    Sampling
		in   []string
		want bool
	}{
		{"default", Sampling{}, nil, true},
		{"never", Sampling{Percentage: &none}, nil, false},
		{"the caller's yes", Sampling{Percentage: &none}, []string{yes}, true},
		{"the caller's no", Sampling{}, []string{no}, false},
		{"ignored yes", Sampling{Percentage: &none, IgnoreParent: true}, []string{yes}, false},
		{"ignored no", Sampling{IgnoreParent: true}, []string{no}, true},
		{"ignored debug", Sampling{Percentage: &none, IgnoreParent: true}, []string{"b3: d"}, false},
		{"debug", Sampling{Percentage: &none}, []string{"b3: d"}, true},
		{"flags", Sampling{Percentage: &none}, []string{"x-b3-flags: 1"}, true},
		{"header", Sampling{Percentage: &none, Header: "X-Trace-Me"}, []string{"x-trace-me: 1"}, true},
		{"header true beats the caller's no", Sampling{Header: "x-trace-me"}, []string{"x-trace-me: true", no}, true},
		{"header with another value", Sampling{Percentage: &none, Header: "x-trace-me"}, []string{"x-trace-me: 0"}, false},
		{"by the trace id, low", Sampling{Percentage: &half}, []string{"b3: " + "ffffffffffffffff007fffffffffffff-" + spanHex}, false},
		{"by the trace id, high", Sampling{Percentage: &half}, []string{"b3: " + "00000000000000000080000000000000-" + spanHex}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := do(newPolicy(t, Config{Sampling: c.s}), c.in...)
			if got := strings.HasSuffix(x.Request.Value(traceparent), "-01"); got != c.want {
				t.Errorf("sampled %v, want %v: %s", got, c.want, x.Request.Value(traceparent))
			}
		})
	}
}

// TestSamplingShare: the share is right, and two hops with the same percentage agree on every trace.
func TestSamplingShare(t *testing.T) {
	const n = 30_000
	rnd := filtertest.Rand(11)
	for _, percent := range []float64{0, 0.01, 1, 10, 50, 99.9, 100} {
		p := filter.PercentOf(percent)
		policy := newPolicy(t, Config{Inject: []Format{W3C}, Sampling: Sampling{Percentage: &p}})
		hits := 0
		for range n {
			x := filtertest.NewExchange()
			x.Rand = rnd
			policy.Request(x)
			first := x.Request.Value(traceparent)
			if strings.HasSuffix(first, "-01") {
				hits++
			}
			if hits%16 == 0 { // the next hop gets the trace without a decision
				y := do(policy, "b3: "+first[3:52])
				if y.Request.Value(traceparent)[52:] != first[52:] {
					t.Fatalf("%v%%: %s here, %s there", percent, first, y.Request.Value(traceparent))
				}
			}
		}
		mean, sigma := n*percent/100, math.Sqrt(n*percent/100*(1-percent/100))
		if math.Abs(float64(hits)-mean) > 4*sigma {
			t.Errorf("%v%%: %d of %d sampled, want %.0f within 4 sigma (%.1f)", percent, hits, n, mean, 4*sigma)
		}
	}
}

func TestSamplingPerSecond(t *testing.T) {
	p := newPolicy(t, Config{Sampling: Sampling{PerSecond: 5, Header: "x-force"}})
	clock := filtertest.NewClock()
	sampled := func(n int, headers ...string) (hits int64) {
		for range n {
			x := filtertest.NewExchange(headers...)
			x.Now = clock.Now()
			p.Request(x)
			if strings.HasSuffix(x.Request.Value(traceparent), "-01") {
				hits++
			}
		}
		return hits
	}
	if got := sampled(100); got != 5 {
		t.Errorf("%d sampled at once, want 5", got)
	}
	if got := sampled(10, "traceparent: 00-"+traceHex+"-"+spanHex+"-01") + sampled(10, "x-force: 1"); got != 20 {
		t.Errorf("%d of 20 decided otherwise were sampled", got)
	}
	clock.Advance(time.Second)
	if got := sampled(100); got != 5 {
		t.Errorf("%d sampled in the next second, want 5", got)
	}
	clock.Advance(-time.Hour)
	if got := sampled(100); got != 5 {
		t.Errorf("%d sampled after the clock was set back, want a new budget of 5", got)
	}
}

func TestRequestID(t *testing.T) {
	none := filter.Percent(0)
	for _, c := range []struct {
		name   string
		config Config
		in     []string
		want   string
	}{
		{"sampled", Config{}, nil, "9"},
		{"not sampled", Config{Sampling: Sampling{Percentage: &none}}, nil, "4"},
		{"forced by header", Config{Sampling: Sampling{Header: "x-f"}}, []string{"x-f: 1"}, "a"},
		{"debug", Config{}, []string{"b3: d"}, "b"},
	} {
		got := do(newPolicy(t, c.config), c.in...).Request.Value(requestID)
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-` + c.want + `[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(got) {
			t.Errorf("%s: %q, want a UUID with %s", c.name, got, c.want)
		}
	}
	if got := do(newPolicy(t, Config{}), "x-request-id: mine").Request.Value(requestID); got != "mine" {
		t.Errorf("a request id that was there became %q", got)
	}
	if got, ok := do(newPolicy(t, Config{KeepRequestID: true})).Request.Get(requestID); ok {
		t.Errorf("keepRequestId: made %q", got)
	}
}

func TestBaggage(t *testing.T) {
	cap10 := Config{Baggage: &Baggage{MaxBytes: 10}}
	allow := Config{Baggage: &Baggage{Allow: []string{"user"}}}
	for _, c := range []struct {
		name    string
		config  Config
		in      []string
		want    string
		dropped int64
	}{
		{"untouched", Config{}, []string{"baggage: a=1, b=2"}, "a=1, b=2", 0},
		{"too long", cap10, []string{"baggage: a=1,b=2,c=3"}, "a=1,b=2", 1},
		{"two headers", cap10, []string{"baggage: a=1", "baggage: b=2"}, "a=1,b=2", 0},
		{"two headers, too long", cap10, []string{"baggage: a=1,b=2", "baggage: c=3"}, "a=1,b=2", 1},
		{"not allowed", allow, []string{"baggage: user=u;p=1,secret=s"}, "user=u;p=1", 1},
		{"nothing left", allow, []string{"baggage: secret=s"}, "", 1},
	} {
		x := do(newPolicy(t, c.config), c.in...)
		got, ok := x.Request.Joined(baggage)
		if got != c.want || ok != (c.want != "") || counted(x, metricBaggage) != c.dropped {
			t.Errorf("%s: %q (present %v), %d dropped; want %q, %d", c.name, got, ok, counted(x, metricBaggage), c.want, c.dropped)
		}
	}
}

// TestOnlyChangesAreWritten: every write crosses the host boundary.
func TestOnlyChangesAreWritten(t *testing.T) {
	x := filtertest.NewExchange("traceparent: 00-"+traceHex+"-"+spanHex+"-01", "x-b3-traceid: "+traceHex, "x-b3-spanid: "+spanHex,
		"x-b3-sampled: 1", "x-request-id: r", "baggage: a=b", "tracestate: a=b")
	newPolicy(t, Config{Baggage: &Baggage{Allow: []string{"a"}}}).Request(x)
	var names []string
	for _, e := range x.Request.TakeEdits() {
		names = append(names, e.Name)
	}
	if got, want := fmt.Sprint(names), "[traceparent x-b3-spanid x-b3-parentspanid]"; got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
}

// Every format comes in, in any combination of formats it goes out, and all of them say the same.
func TestEveryFormatIntoEveryCombination(t *testing.T) {
	ids := traceHex + "-" + spanHex
	incoming := map[Format][]string{
		W3C: {"traceparent: 00-" + ids + "-01"}, B3: {"b3: " + ids + "-1"}, Jaeger: {"uber-trace-id: " + traceHex + ":" + spanHex + ":0:1"},
		B3Multi: {"x-b3-traceid: " + traceHex, "x-b3-spanid: " + spanHex, "x-b3-sampled: 1"},
		OT:      {"x-ot-span-context: " + traceHex[16:] + ";" + spanHex + ";0;cs"},
	}
	for in, lines := range incoming {
		for set := 1; set < 1<<codes; set++ {
			var inject []Format
			for c := range codes {
				if set>>c&1 != 0 {
					inject = append(inject, c.format())
				}
			}
			x := filtertest.NewExchange(lines...)
			newPolicy(t, Config{Inject: inject}).Request(x)
			out := x.Request.Value
			for c := range codes {
				got, ok := [codes]func() (span, bool){
					func() (span, bool) { return parseTraceparent(out(traceparent)) }, func() (span, bool) { return parseB3(out(b3Single)) },
					func() (span, bool) { return parseB3Multi(out(b3TraceID), out(b3SpanID), out(b3Sampled), out(b3Flags)) },
					func() (span, bool) { return parseJaeger(out(uberTraceID)) }, func() (span, bool) { return parseOT(out(otContext)) },
				}[c]()
				_, present := x.Request.Get([codes]string{traceparent, b3Single, b3TraceID, uberTraceID, otContext}[c])
				if want := set>>c&1 != 0 || c.format() == in; present != want {
					t.Fatalf("%s into %v: %s is there: %v", in, inject, c.format(), present)
				}
				if !present {
					continue
				}
				hi := uint64(0x0af7651916cd43dd)
				if in == OT || c == cOT {
					hi = 0 // x-ot-span-context carries 64 bits
				}
				if !ok || got.lo != 0x8448eb211c80319c || got.hi != hi || got.decision != sample || got.id == 0 || got.id == 0xb7ad6b7169203331 {
					t.Fatalf("%s into %v: %s says %+v (valid: %v): %v", in, inject, c.format(), got, ok, x.Request.All())
				}
			}
		}
	}
}
