package match_test

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

func TestKeyValue(t *testing.T) {
	x := filtertest.NewExchange(":path: /p?q=1", ":method: PUT", "x-user: ann", "x-user: bob", "x-empty:", "cookie: id=7; none=")
	x.Host = &filtertest.Host{Route: "r1", Source: "10.0.0.9"}
	for _, c := range []struct {
		name string
		k    match.Key
		want string
	}{
		{"header, all values", match.Key{Header: "X-User"}, "ann,bob"},
		{"header missing", match.Key{Header: "x-none"}, ""},
		{"header empty is no key", match.Key{Header: "x-empty"}, ""},
		{"cookie", match.Key{Cookie: "id"}, "7"},
		{"cookie empty is no key", match.Key{Cookie: "none"}, ""},
		{"query", match.Key{Query: "q"}, "1"},
		{"path", match.Key{Path: true}, "/p"},
		{"method", match.Key{Method: true}, "PUT"},
		{"source", match.Key{SourceAddress: true}, "10.0.0.9"},
		{"source's network", match.Key{SourceAddress: true, IPv4Prefix: 24}, "10.0.0.0/24"},
		{"source's network, of IPv6 only", match.Key{SourceAddress: true, IPv6Prefix: 64}, "10.0.0.9/32"},
		{"route", match.Key{Route: true}, "r1"},
		{"literal", match.Key{Literal: "all"}, "all"},
		{"no trace", match.Key{TraceID: true}, ""},
	} {
		k, err := match.CompileKey(c.k)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := k.Value(x); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.name, got, ok, c.want)
		}
	}
}

// TestMaskedSource: as Envoy writes a masked_remote_address.
func TestMaskedSource(t *testing.T) {
	k, err := match.CompileKey(match.Key{SourceAddress: true, IPv4Prefix: 16, IPv6Prefix: 64})
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		"192.168.7.9": "192.168.0.0/16", "2001:abcd:ef01:2345:6789:abcd:ef01:234": "2001:abcd:ef01:2345::/64", "::1": "::/64",
		"@pipe": "@pipe", "": "",
	} {
		if got, _ := k.Value(&filter.Exchange{Host: &filtertest.Host{Source: source}}); got != want {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
}

func TestKeyErrors(t *testing.T) {
	for _, c := range []struct {
		k    match.Key
		want string
	}{
		{match.Key{}, "key: is empty; write exactly one of header"},
		{match.Key{Header: "a", Path: true}, "key: has header and path"},
		{match.Key{Header: "a b"}, "key.header:"},
		{match.Key{Cookie: "a;b"}, "key.cookie:"},
		{match.Key{Path: true, IPv4Prefix: 8}, "are for sourceAddress"},
		{match.Key{SourceAddress: true, IPv4Prefix: 33}, "key.ipv4Prefix:"},
		{match.Key{SourceAddress: true, IPv6Prefix: 129}, "key.ipv6Prefix:"},
	} {
		if _, err := match.CompileKey(c.k); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q in it", c.k, err, c.want)
		}
	}
}

func TestTraceID(t *testing.T) {
	const id, short = "4bf92f3577b34da6a3ce929d0e0e4736", "a3ce929d0e0e4736"
	for _, c := range []struct {
		name, want string
		headers    []string
	}{
		{"traceparent", id, []string{"b3: 1111111111111111-2222222222222222-1", "traceparent: 00-" + id + "-00f067aa0ba902b7-01"}},
		{"64 bits in 128", short, []string{"traceparent: 00-0000000000000000" + short + "-00f067aa0ba902b7-01"}},
		{"b3", short, []string{"b3: " + short + "-2222222222222222-1"}},
		{"b3 that only says no", "1", []string{"b3: 0", "x-b3-traceid: 0000000000000001"}},
		{"b3 multi", short, []string{"x-b3-traceid: " + strings.ToUpper(short)}},
		{"jaeger", "abc1", []string{"uber-trace-id: abc1:def:0:1"}},
		{"ot", short, []string{"x-ot-span-context: " + short + ";2222;0;cs"}},
		{"broken traceparent", short, []string{"traceparent: 00-zz-1-1", "x-b3-traceid: " + short}},
		{"zero is no trace", "", []string{"traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01"}},
		{"request id", "d5e-8f90-123456789abc", []string{"x-request-id: 8f1d8f5e-2b3c-4d5e-8f90-123456789abc"}},
		{"request id marked by Envoy", "d5e-8f90-123456789abc", []string{"x-request-id: 8f1d8f5e-2b3c-9d5e-8f90-123456789abc"}},
		{"request id of another form", "req-1", []string{"x-request-id: req-1"}},
		{"nothing", "", nil},
	} {
		if got := match.TraceID(filtertest.Headers(c.headers...)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The hash must never change: users would swap sides with a new version of Mizzen.
func TestHashIsStable(t *testing.T) {
	for _, c := range []struct {
		salt []string
		key  string
		want uint64
	}{{nil, "", 0xb9034ad37056f5fb}, {[]string{"reviews"}, "ann", 0xf702f3f7f2d9ca0b}, {[]string{"delay", "r"}, "10.0.0.1", 0x5c41b3584263b3fb}} {
		if got := match.Hash(match.Salt(c.salt...), c.key); got != c.want {
			t.Errorf("%v %q: %#x, want %#x", c.salt, c.key, got, c.want)
		}
	}
	if match.Salt("ab", "c") == match.Salt("a", "bc") {
		t.Error("the parts of a salt run into each other")
	}
}

func FuzzValues(f *testing.F) {
	f.Add("/a?b=c&d", `a=b; c="d"`, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("?&=&&", ";;=;", "-")
	f.Fuzz(func(t *testing.T, path, cookie, trace string) {
		h := filtertest.Headers(":path: "+path, "cookie: "+cookie, "traceparent: "+trace, "b3: "+trace, "uber-trace-id: "+trace)
		if v, ok := match.QueryParameter(path, "b"); !ok && v != "" {
			t.Errorf("query: %q without ok", v)
		}
		if v, ok := match.Cookie(h, "a"); !ok && v != "" {
			t.Errorf("cookie: %q without ok", v)
		}
		match.TraceID(h)
	})
}
