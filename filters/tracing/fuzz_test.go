package tracing

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// fuzzParser feeds a parser and checks that what it accepts survives writing and reading back.
func fuzzParser(f *testing.F, parse func(string) (span, bool), write func([]byte, *span) []byte, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := parse(in)
		if !ok {
			return
		}
		if !got.hasIDs() {
			if got.decision == undecided || got != (span{decision: got.decision}) {
				t.Fatalf("%q accepted as %+v", in, got)
			}
			return
		}
		if got.decision == undecided {
			got.decision = drop
		}
		text := string(write(nil, &got))
		again, ok := parse(text)
		if !ok || again != got {
			t.Fatalf("%q read as %+v, written as %q, read as %+v, %v", in, got, text, again, ok)
		}
	})
}

func FuzzTraceparent(f *testing.F) {
	fuzzParser(f, parseTraceparent, appendTraceparent, "00-"+traceHex+"-"+spanHex+"-01", "cc-"+traceHex+"-"+spanHex+"-00-x", "ff")
}

func FuzzB3(f *testing.F) {
	fuzzParser(f, parseB3, appendB3, "0", "d", traceHex+"-"+spanHex+"-1-05e3ac9a4f6e3b90", traceHex[16:]+"-"+spanHex)
}

func FuzzJaeger(f *testing.F) {
	fuzzParser(f, parseJaeger, appendJaeger, traceHex+":"+spanHex+":0:1", "1%3A2%3A0%3A3", "abc:1:0:0")
}

func FuzzOT(f *testing.F) {
	fuzzParser(f, parseOT, appendOT, "EhQJAQIDBAUGBwgRCQoLDA0ODxAYAQ==", "8448eb211c80319c;b7ad6b7169203331;0;cs",
		"CgF4EhwJAQIDBAUGBwgRCQoLDA0ODxAYASIGCgFhEgFi")
}

func FuzzB3Multi(f *testing.F) {
	f.Add(traceHex, spanHex, "1", "")
	f.Add("", "", "0", "1")
	f.Fuzz(func(t *testing.T, trace, id, sampled, flags string) {
		got, ok := parseB3Multi(trace, id, sampled, flags)
		if ok && !got.hasIDs() && got != (span{decision: got.decision}) {
			t.Fatalf("accepted as %+v", got)
		}
	})
}

func FuzzTracestate(f *testing.F) {
	f.Add("rojo=1,congo=2", 3)
	f.Add("a="+strings.Repeat("x", 130)+",b=1", 40)
	f.Fuzz(func(t *testing.T, member string, times int) {
		in := strings.Repeat(member+",", max(0, min(times, 100))) + member
		got := shortenTracestate(in)
		if len(got) > maxTracestate || len(got) > len(in) || strings.Count(got, ",") > maxMembers-1 {
			t.Fatalf("%d bytes became %d", len(in), len(got))
		}
	})
}

func FuzzBaggage(f *testing.F) {
	f.Add("a=1;p, b=2", "a", 10)
	f.Add(",,=;", "", 0)
	f.Fuzz(func(t *testing.T, in, allow string, limit int) {
		got, _ := trimBaggage(in, []string{allow}, max(0, limit))
		if len(got) > max(0, limit) {
			t.Fatalf("%q: %d bytes, limit %d", in, len(got), limit)
		}
		for m := range strings.SplitSeq(got, ",") {
			if m != "" && memberName(strings.TrimSpace(m)) != allow && strings.TrimSpace(m) != "" {
				t.Fatalf("%q let %q pass, allowed is %q", in, m, allow)
			}
		}
	})
}

// FuzzRequest gives the policy any headers at all: what it writes is valid, and all formats say the same.
func FuzzRequest(f *testing.F) {
	f.Add("00-"+traceHex+"-"+spanHex+"-01", traceHex+"-"+spanHex+"-d", traceHex, spanHex, "1", "0", "1:2:3:1", "1;2;3", "a=b", uint8(0))
	f.Add("", "0", "", "", "", "1", "", "EhQJAQIDBAUGBwgRCQoLDA0ODxAYAQ==", "", uint8(255))
	f.Fuzz(func(t *testing.T, tp, b3, trace, id, sampled, flags, jaeger, ot, state string, absent uint8) {
		x := filtertest.NewExchange()
		for i, h := range []filter.Header{{Name: traceparent, Value: tp}, {Name: b3Single, Value: b3}, {Name: b3TraceID, Value: trace},
			{Name: b3SpanID, Value: id}, {Name: b3Sampled, Value: sampled}, {Name: b3Flags, Value: flags},
			{Name: uberTraceID, Value: jaeger}, {Name: otContext, Value: ot}, {Name: tracestate, Value: state}} {
			if i == 8 || absent>>i&1 == 0 {
				x.Request.Add(h.Name, h.Value)
			}
		}
		p, err := New(Config{Inject: formats()}, filtertest.Env())
		if err != nil {
			t.Fatal(err)
		}
		p.Request(x)
		var in seen
		in.read(x.Request, watched(""), "")
		var first span
		for c := range codes {
			got, present, ok := in.context(c)
			if !present || !ok || !got.hasIDs() {
				t.Fatalf("%s is %+v, present %v, valid %v: %v", c.format(), got, present, ok, x.Request.All())
			}
			if c == cOT {
				got.hi = first.hi
			}
			got.decision = min(got.decision, sample)
			if c == cW3C {
				first = got
			}
			if got != first {
				t.Fatalf("%s says %+v, w3c %+v", c.format(), got, first)
			}
		}
		if x.Request.Value(requestID) == "" {
			t.Fatal("no request id")
		}
	})
}
