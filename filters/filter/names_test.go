package filter

import (
	"math/bits"
	"strings"
	"testing"
)

// A header that is there is never denied, however it came there; what was never there mostly is.
func TestMay(t *testing.T) {
	h := NewHeaders([]Header{{":path", "/"}, {"cookie", "a=b"}, {"", ""}})
	denied := 0
	for i := range 200 {
		name := strings.Repeat("x", 1+i%23) + string(rune('a'+i%26)) + strings.Repeat("y", i%11)
		if !h.May(NamesOf(name)) {
			denied++
		}
	}
	if denied < 120 {
		t.Errorf("only %d of 200 names were denied", denied)
	}
	for _, name := range []string{":path", "cookie", ""} {
		if !h.May(NamesOf(name)) {
			t.Errorf("%q is denied", name)
		}
	}
	h.Add("x-added", "1")
	h.Set("x-set", "1")
	for _, name := range []string{"x-added", "x-set"} {
		if !h.May(NamesOf(name)|NamesOf("other")) || h.Value(name) != "1" {
			t.Errorf("%q is denied", name)
		}
	}
	h.Reset([]Header{{"new", "1"}})
	if h.Value("new") != "1" || h.May(NamesOf("cookie")) {
		t.Error("Reset keeps the names")
	}
}

// The names that policies look for share no bit with what every request carries.
func TestNamesOfUsualHeaders(t *testing.T) {
	var usual Names
	for _, name := range []string{":authority", ":path", ":method", ":scheme", "user-agent", "accept", "accept-language",
		"accept-encoding", "cookie", "x-forwarded-proto", "x-forwarded-for", "x-request-id", "content-type", "content-length", "x-envoy-internal"} {
		usual |= NamesOf(name)
	}
	for _, name := range []string{"x-mizzen-route", "x-mizzen-cluster", "x-fault", "x-group",
		"traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
		"uber-trace-id", "x-ot-span-context", "baggage"} {
		if usual&NamesOf(name) != 0 {
			t.Errorf("%s shares a bit with a usual header", name)
		}
	}
	if n := bits.OnesCount64(uint64(usual)); n < 8 {
		t.Errorf("usual headers share %d bits", n)
	}
}
