package tracing

import (
	"fmt"
	"strings"
	"testing"
)

const (
	traceHi  = uint64(0x0af7651916cd43dd)
	traceLo  = uint64(0x8448eb211c80319c)
	spanID   = uint64(0xb7ad6b7169203331)
	traceHex = "0af7651916cd43dd8448eb211c80319c"
	spanHex  = "b7ad6b7169203331"
)

type vector struct {
	in   string
	want span
	ok   bool
}

func run(t *testing.T, parse func(string) (span, bool), vectors []vector) {
	t.Helper()
	for _, v := range vectors {
		got, ok := parse(v.in)
		if ok != v.ok || ok && got != v.want {
			t.Errorf("%q: %+v, %v; want %+v, %v", v.in, got, ok, v.want, v.ok)
		}
	}
}

// Vectors after W3C Trace Context Level 1, sections 3.2 and 4.
func TestParseTraceparent(t *testing.T) {
	whole := span{hi: traceHi, lo: traceLo, id: spanID, decision: sample}
	not := whole
	not.decision = drop
	ids := traceHex + "-" + spanHex
	run(t, parseTraceparent, []vector{
		{"00-" + ids + "-01", whole, true},
		{"00-" + ids + "-00", not, true},
		{"00-" + ids + "-03", whole, true}, // flags this level does not know
		{"00-" + ids + "-fe", not, true},
		{"01-" + ids + "-01", whole, true}, // a later version
		{"cc-" + ids + "-01-what-the-future-holds", whole, true},
		{"fe-" + ids + "-01-", whole, true},
		{"ff-" + ids + "-01", span{}, false}, // forbidden version
		{"00-" + ids + "-01-", span{}, false},
		{"00-" + ids + "-01-x", span{}, false},
		{"01-" + ids + "-01x", span{}, false},
		{"00-" + ids, span{}, false},
		{"00-" + ids + "-1", span{}, false},
		{"00-" + ids + "-0g", span{}, false},
		{"00-" + ids + "-0A", span{}, false},
		{"0x-" + ids + "-01", span{}, false},
		{"00_" + ids + "-01", span{}, false},
		{"00-" + strings.ToUpper(traceHex) + "-" + spanHex + "-01", span{}, false},
		{"00-" + traceHex + "-" + strings.ToUpper(spanHex) + "-01", span{}, false},
		{"00-" + strings.Repeat("0", 32) + "-" + spanHex + "-01", span{}, false},
		{"00-" + traceHex + "-" + strings.Repeat("0", 16) + "-01", span{}, false},
		{"00-" + traceHex[1:] + "g-" + spanHex + "-01", span{}, false},
		{"00-" + ids + "-01,00-" + ids + "-01", span{}, false},
		{" 00-" + ids + "-01", span{}, false},
		{"", span{}, false},
	})
}

// Vectors after the B3 specification, "Single Header".
func TestParseB3(t *testing.T) {
	whole := span{hi: traceHi, lo: traceLo, id: spanID}
	with := func(s span, d decision) span { s.decision = d; return s }
	short := span{lo: traceLo, id: spanID}
	ids, shortIDs := traceHex+"-"+spanHex, traceHex[16:]+"-"+spanHex
	run(t, parseB3, []vector{
		{"0", span{decision: drop}, true},
		{"1", span{decision: sample}, true},
		{"d", span{decision: debug}, true},
		{ids, whole, true},
		{ids + "-0", with(whole, drop), true},
		{ids + "-1", with(whole, sample), true},
		{ids + "-d", with(whole, debug), true},
		{ids + "-1-05e3ac9a4f6e3b90", with(whole, sample), true},
		{shortIDs, short, true},
		{shortIDs + "-1-05e3ac9a4f6e3b90", with(short, sample), true},
		{strings.ToUpper(ids) + "-1", with(whole, sample), true},
		{"2", span{}, false},
		{"true", span{}, false},
		{"", span{}, false},
		{ids + "-", span{}, false},
		{ids + "-2", span{}, false},
		{ids + "-1-", span{}, false},
		{ids + "-1-05e3ac9a4f6e3b9", span{}, false},
		{ids + "-1-05e3ac9a4f6e3b9x", span{}, false},
		{ids + "-1_05e3ac9a4f6e3b90", span{}, false},
		{ids + "-05e3ac9a4f6e3b90", span{}, false}, // a parent needs a state before it
		{traceHex, span{}, false},
		{traceHex[8:] + "-" + spanHex, span{}, false},
		{strings.Repeat("0", 32) + "-" + spanHex, span{}, false},
		{traceHex + "-" + strings.Repeat("0", 16), span{}, false},
	})
}

// Vectors after the B3 specification, "Multiple Headers".
func TestParseB3Multi(t *testing.T) {
	whole := span{hi: traceHi, lo: traceLo, id: spanID}
	with := func(s span, d decision) span { s.decision = d; return s }
	for _, c := range []struct {
		trace, span, sampled, flags string
		want                        span
		ok                          bool
	}{
		{traceHex, spanHex, "", "", whole, true},
		{traceHex, spanHex, "1", "", with(whole, sample), true},
		{traceHex, spanHex, "0", "", with(whole, drop), true},
		{traceHex, spanHex, "true", "", with(whole, sample), true},
		{traceHex, spanHex, "false", "", with(whole, drop), true},
		{traceHex, spanHex, "", "1", with(whole, debug), true},
		{traceHex, spanHex, "0", "1", with(whole, debug), true},
		{traceHex, spanHex, "1", "0", with(whole, sample), true},
		{traceHex[16:], spanHex, "1", "", span{lo: traceLo, id: spanID, decision: sample}, true},
		{"", "", "0", "", span{decision: drop}, true},
		{"", "", "", "1", span{decision: debug}, true},
		{traceHex, "", "1", "", span{}, false},
		{"", spanHex, "1", "", span{}, false},
		{traceHex, spanHex, "yes", "", span{}, false},
		{traceHex[1:], spanHex, "1", "", span{}, false},
		{traceHex, spanHex[1:], "1", "", span{}, false},
		{traceHex, "zzzzzzzzzzzzzzzz", "1", "", span{}, false},
		{"", "", "", "", span{}, false}, // only a parent
	} {
		got, ok := parseB3Multi(c.trace, c.span, c.sampled, c.flags)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s %s %s %s: %+v, %v; want %+v, %v", c.trace, c.span, c.sampled, c.flags, got, ok, c.want, c.ok)
		}
	}
}

// Vectors after Jaeger's "Client Libraries: Propagation Format".
func TestParseJaeger(t *testing.T) {
	whole := span{hi: traceHi, lo: traceLo, id: spanID, decision: sample}
	with := func(s span, d decision) span { s.decision = d; return s }
	ids := traceHex + ":" + spanHex
	run(t, parseJaeger, []vector{
		{ids + ":0:1", whole, true},
		{ids + ":0:01", whole, true},
		{ids + ":0:0", with(whole, drop), true},
		{ids + ":0:3", with(whole, debug), true},
		{ids + ":0:2", with(whole, drop), true}, // debug counts only with sampled
		{ids + ":0:9", whole, true},             // firehose
		{ids + ":05e3ac9a4f6e3b90:1", whole, true},
		{"8448eb211c80319c:" + spanHex + ":0:1", span{lo: traceLo, id: spanID, decision: sample}, true},
		{"abc:1:0:1", span{lo: 0xabc, id: 1, decision: sample}, true}, // leading zeros left out
		{"10af7651916cd43dd:1:0:1", span{hi: 1, lo: traceHi, id: 1, decision: sample}, true},
		{strings.ReplaceAll(ids, ":", "%3A") + "%3a0%3A1", whole, true},
		{"0:1:0:1", span{}, false},
		{"1:0:0:1", span{}, false},
		{ids + ":0", span{}, false},
		{ids + ":0:", span{}, false},
		{ids + "::1", span{}, false},
		{ids + ":0:001", span{}, false},
		{ids + ":0:x", span{}, false},
		{ids + ":0:1:2", span{}, false},
		{"1" + ids + ":0:1", span{}, false},
		{strings.Repeat("a", 300), span{}, false},
		{"", span{}, false},
	})
}

func TestParseOT(t *testing.T) {
	run(t, parseOT, []vector{
		// {2: {1: fixed64 0x0807060504030201, 2: fixed64 0x100f0e0d0c0b0a09, 3: true}}
		{"EhQJAQIDBAUGBwgRCQoLDA0ODxAYAQ==", span{lo: 0x0807060504030201, id: 0x100f0e0d0c0b0a09, decision: sample}, true},
		{"EhIJAQIDBAUGBwgRCQoLDA0ODxA=", span{lo: 0x0807060504030201, id: 0x100f0e0d0c0b0a09, decision: drop}, true},
		// with an unknown field before it and baggage inside: {1: "x", 2: {..., 4: {1: "a", 2: "b"}}}
		{"CgF4EhwJAQIDBAUGBwgRCQoLDA0ODxAYASIGCgFhEgFi", span{lo: 0x0807060504030201, id: 0x100f0e0d0c0b0a09, decision: sample}, true},
		{"8448eb211c80319c;b7ad6b7169203331;0000000000000000;cs", span{lo: traceLo, id: spanID}, true},
		{"8448eb211c80319c;b7ad6b7169203331;0000000000000000", span{lo: traceLo, id: spanID}, true},
		{"0;b7ad6b7169203331;0;cs", span{}, false},
		{"8448eb211c80319c;b7ad6b7169203331", span{}, false},
		{"8448eb211c80319c;;0;cs", span{}, false},
		{"!!", span{}, false},
		{"EhQJAQIDBAUGBwgRCQoLDA0ODxAYAQ", span{}, false},   // padding missing
		{"EhUJAQIDBAUGBwgRCQoLDA0ODxAYAQ==", span{}, false}, // longer than it is
		{"EgkJAQIDBAUGBwg=", span{}, false},                 // no span id
		{"EwA=", span{}, false},                             // a group
		{"", span{}, false},
	})
}

// TestRoundTrip: what is written is read back, in each format, as far as the format can carry it.
func TestRoundTrip(t *testing.T) {
	for _, d := range []decision{drop, sample, debug} {
		for _, parent := range []uint64{0, 7} {
			s := span{hi: traceHi, lo: traceLo, id: spanID, parent: parent, decision: d}
			want := span{hi: traceHi, lo: traceLo, id: spanID, decision: d}
			plain := want
			plain.decision = min(d, sample) // W3C and OT know no debug
			short := plain
			short.hi = 0
			for _, c := range []struct {
				format Format
				append func([]byte, *span) []byte
				parse  func(string) (span, bool)
				want   span
			}{
				{W3C, appendTraceparent, parseTraceparent, plain},
				{B3, appendB3, parseB3, want},
				{Jaeger, appendJaeger, parseJaeger, want},
				{OT, appendOT, parseOT, short},
			} {
				text := string(c.append(nil, &s))
				if got, ok := c.parse(text); !ok || got != c.want {
					t.Errorf("%s: wrote %q, read %+v, %v; want %+v", c.format, text, got, ok, c.want)
				}
			}
		}
	}
}

func TestHex(t *testing.T) {
	for _, v := range []uint64{0, 1, 0xa, 0x9a, 0xfedcba9876543210, 0x0123456789abcdef, 1<<64 - 1} {
		if got, want := string(appendHex(nil, v)), fmt.Sprintf("%016x", v); got != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
		for _, s := range []string{fmt.Sprintf("%016x", v), fmt.Sprintf("%x", v), fmt.Sprintf("%016X", v)} {
			if got, ok := parseHex(s); !ok || got != v {
				t.Errorf("%s: read %x, %v", s, got, ok)
			}
		}
	}
	for i := range 16 {
		for c := range 256 {
			s := "0123456789abcdef"[:i] + string([]byte{byte(c)}) + "0123456789abcdef"[i+1:]
			_, ok := parseLower16(s)
			if want := strings.IndexByte("0123456789abcdef", byte(c)) >= 0; ok != want {
				t.Fatalf("%q: %v, want %v", s, ok, want)
			}
		}
	}
}

func TestShortenTracestate(t *testing.T) {
	member := func(name string, size int) string { return name + "=" + strings.Repeat("v", size-len(name)-1) }
	join := func(m ...string) string { return strings.Join(m, ",") }
	a, b, c, long := member("a", 120), member("b", 120), member("c", 120), member("long", 200)
	d, e := member("d", 100), member("e", 100)
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("k%d=v", i))
	}
	for _, tc := range []struct{ name, in, want string }{
		{"short", "rojo=1,congo=2", "rojo=1,congo=2"},
		{"as it is, even odd", " ,,=x", " ,,=x"},
		{"exactly 512", member("x", 512), member("x", 512)},
		{"long members go first", join(a, long, b, c), join(a, b, c)},
		{"then the last", join(a, b, c, d, e), join(a, b, c, d)},
		{"both", join(long, a, b, c, d, long, e), join(a, b, c, d)},
		{"only as much as needed", join(long, a, d, long), join(long, a, d)},
		{"one of 600", member("x", 600), ""},
		{"40 members", join(many...), join(many[:32]...)},
	} {
		if got := shortenTracestate(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestTrimBaggage(t *testing.T) {
	for _, c := range []struct {
		in    string
		allow []string
		limit int
		want  string
		drop  int
	}{
		{"a=1, b=2", nil, 100, "a=1, b=2", 0},
		{"a=1, b=2", nil, 7, "a=1,b=2", 0},
		{"a=1,b=2,c=3", nil, 7, "a=1,b=2", 1},
		{"a=1,long=" + strings.Repeat("x", 50) + ",c=3", nil, 10, "a=1,c=3", 1},
		{"a=1;p=q, b = 2 ,c=3", []string{"a", "b"}, 100, "a=1;p=q,b = 2", 1},
		{"a=1", []string{"A"}, 100, "", 1},
		{"a=1,b=2", []string{"b", "a"}, 100, "a=1,b=2", 0},
		{"", []string{"b"}, 100, "", 0},
	} {
		got, dropped := trimBaggage(c.in, c.allow, c.limit)
		if got != c.want || dropped != c.drop {
			t.Errorf("%q: %q, %d; want %q, %d", c.in, got, dropped, c.want, c.drop)
		}
	}
}
