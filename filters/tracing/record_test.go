package tracing

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// meddler stands for the other policies.
type meddler struct{ reply *filter.Reply }

func (m meddler) Request(x *filter.Exchange) filter.Verdict {
	if !x.Resumed() {
		x.Host.Annotate("canary", "v1")
		x.Host.Annotate("canary", `v2 "new"`)
		x.Host.Flag("DI")
		return filter.Verdict{Wait: 30 * time.Millisecond}
	}
	return filter.Verdict{Reply: m.reply}
}

func (meddler) Response(*filter.Exchange) filter.Verdict { return filter.Verdict{} }

func TestSpanOfAnExchange(t *testing.T) {
	p, e := exporting(t, filtertest.Env(), "")
	base := &filter.Program{Names: []string{"tracing", "meddler"}, Policies: []filter.Policy{p, meddler{}}, Disabled: make([]bool, 2)}
	r := &filtertest.Runner{Base: base, Clock: filtertest.NewClock(), Source: "10.0.0.7",
		Route: func(*filter.Headers) (string, *filter.Program) { return "reviews", nil }}
	got := sent(t, r, e, "traceparent: 00-"+traceHex+"-"+spanHex+"-01", ":path: /a?secret=1", ":authority: shop.test:8080", "user-agent: t", "x-request-id: u")
	tags := got["tags"].(map[string]any)
	want := map[string]any{"http.request.method": "GET", "url.scheme": "http", "server.address": "shop.test", "server.port": "8080", "url.path": "/a",
		"user_agent.original": "t", "guid:x-request-id": "u", "mizzen.route": "reviews", "client.address": "10.0.0.7", "http.response.status_code": "200",
		"mizzen.flags": "DI", "mizzen.canary": `v2 "new"`}
	if !maps.Equal(tags, want) {
		t.Errorf("tags %v\nwant %v", tags, want)
	}
	start := filtertest.NewClock().Now()
	if got["traceId"] != traceHex || got["parentId"] != spanHex || got["kind"] != "SERVER" || got["name"] != "GET reviews" ||
		got["timestamp"] != float64(start.UnixMicro()) || got["duration"] != 30_000.0 || got["debug"] != nil {
		t.Errorf("span %v", got)
	}
	if got["localEndpoint"].(map[string]any)["serviceName"] != "shop" || got["remoteEndpoint"].(map[string]any)["ipv4"] != "10.0.0.7" {
		t.Errorf("endpoints %v, %v", got["localEndpoint"], got["remoteEndpoint"])
	}
}

func TestSpansOfOutcomes(t *testing.T) {
	grpc := "content-type: application/grpc"
	reply := &filter.Reply{Status: 503, Details: "mizzen_fault_abort", Flag: "FI"}
	for _, c := range []struct {
		name, kind string
		lines      []string
		upstream   []filter.Header
		reply      *filter.Reply
		patience   time.Duration
		errorType  string
		message    any
	}{
		{name: "404 of a server", kind: Server, upstream: []filter.Header{{Name: ":status", Value: "404"}}},
		{name: "404 for a client", kind: Client, upstream: []filter.Header{{Name: ":status", Value: "404"}}, errorType: "404", message: "true"},
		{name: "500", kind: Server, upstream: []filter.Header{{Name: ":status", Value: "500"}}, errorType: "500", message: "true"},
		{name: "reply", kind: Server, reply: reply, errorType: "503", message: "mizzen_fault_abort"},
		{name: "client gone", kind: Server, patience: time.Millisecond, errorType: "no_response", message: "true"},
		{name: "gRPC fault", kind: Server, lines: []string{grpc}, upstream: []filter.Header{{Name: ":status", Value: "200"}, {Name: "grpc-status", Value: "13"}}, errorType: "13", message: "true"},
		{name: "gRPC not found", kind: Server, lines: []string{grpc}, upstream: []filter.Header{{Name: ":status", Value: "200"}, {Name: "grpc-status", Value: "5"}}},
		{name: "gRPC not found for a client", kind: Client, lines: []string{grpc}, upstream: []filter.Header{{Name: ":status", Value: "200"}, {Name: "grpc-status", Value: "5"}}, errorType: "5", message: "true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, e := exporting(t, filtertest.Env(), "")
			p.client = c.kind == Client
			base := &filter.Program{Names: []string{"tracing", "meddler"}, Policies: []filter.Policy{p, meddler{c.reply}}, Disabled: make([]bool, 2)}
			r := &filtertest.Runner{Base: base, Clock: filtertest.NewClock(), Patience: c.patience}
			if c.upstream != nil {
				r.Upstream = func(*filter.Headers) []filter.Header { return c.upstream }
			}
			tags := sent(t, r, e, c.lines...)["tags"].(map[string]any)
			if got, _ := tags["error.type"].(string); got != c.errorType || tags["error"] != c.message {
				t.Errorf("error.type %q, error %v; want %q, %v", got, tags["error"], c.errorType, c.message)
			}
			if c.reply != nil && (tags["mizzen.flags"] != "DI,FI" || tags["mizzen.details"] != "mizzen_fault_abort") {
				t.Errorf("tags %v", tags)
			}
		})
	}
}

// An exchange that is not sampled costs what it costs without an exporter: nobody visits its response or end.
func TestUnsampledMakesNoSpan(t *testing.T) {
	p, e := exporting(t, filtertest.Env(), "")
	for line, over := range map[string]bool{"b3: 0": true, "b3: 1": false} {
		run := &filter.Run{Exchange: *filtertest.NewExchange(line)}
		run.Request(filtertest.Single("tracing", p), nil)
		if _, plain := run.Exchange.Host.(*filtertest.Host); run.Over() != over || plain != over {
			t.Errorf("%s: over %v, observed %v", line, run.Over(), !plain)
		}
		run.Exchange.Response = filter.NewHeaders(nil)
		run.Response(filtertest.Single("tracing", p))
		run.End(filtertest.Single("tracing", p))
	}
	if len(e.queue) != 1 {
		t.Errorf("%d spans, want that of the sampled one", len(e.queue))
	}
}

// decoded reads a protobuf message: the values of each field, numbers as 8 bytes.
func decoded(t *testing.T, b []byte) map[int][][]byte {
	t.Helper()
	out := map[int][][]byte{}
	for len(b) > 0 {
		n, wire, size := protowire.ConsumeTag(b)
		if size < 0 {
			t.Fatalf("bad tag in %x", b)
		}
		b = b[size:]
		var v []byte
		switch wire {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			var u uint64
			u, size = protowire.ConsumeVarint(b)
			v = binary.BigEndian.AppendUint64(nil, u)
		case protowire.Fixed64Type:
			var u uint64
			u, size = protowire.ConsumeFixed64(b)
			v = binary.BigEndian.AppendUint64(nil, u)
		case protowire.Fixed32Type:
			var u uint32
			u, size = protowire.ConsumeFixed32(b)
			v = binary.BigEndian.AppendUint64(nil, uint64(u))
		}
		if size < 0 {
			t.Fatalf("bad field %d", n)
		}
		b = b[size:]
		out[int(n)] = append(out[int(n)], v)
	}
	return out
}

func attributes(t *testing.T, all [][]byte) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, kv := range all {
		f := decoded(t, kv)
		v := decoded(t, f[2][0])
		if s := v[1]; s != nil {
			out[string(f[1][0])] = string(s[0])
		} else {
			out[string(f[1][0])] = int64(binary.BigEndian.Uint64(v[3][0]))
		}
	}
	return out
}

func TestOTLPIsWellFormed(t *testing.T) {
	start := filtertest.NewClock().Now()
	r := &report{span: span{hi: 1, lo: 2, id: 3, parent: 4}, client: true, name: "GET x", start: start, end: start.Add(time.Millisecond),
		tags: []tag{{key: "a", text: "b"}, {key: "n", number: 503}, {key: "min", number: math.MinInt64}}, failed: true, message: "why"}
	s := otlp{}.appendSpan(nil, r)
	b := otlp{}.join("shop", [][]byte{s, s})
	resource := decoded(t, decoded(t, b)[1][0])
	if got := attributes(t, decoded(t, resource[1][0])[1]); !maps.Equal(got, map[string]any{"service.name": "shop"}) {
		t.Errorf("resource %v", got)
	}
	scope := decoded(t, resource[2][0])
	if len(scope[2]) != 2 || string(decoded(t, scope[1][0])[1][0]) != "mizzen" {
		t.Fatalf("scope %v", scope)
	}
	f := decoded(t, scope[2][1])
	if binary.BigEndian.Uint64(f[1][0]) != 1 || len(f[1][0]) != 16 || binary.BigEndian.Uint64(f[2][0]) != 3 || binary.BigEndian.Uint64(f[4][0]) != 4 ||
		string(f[5][0]) != "GET x" || f[6][0][7] != 3 || binary.BigEndian.Uint64(f[7][0]) != uint64(start.UnixNano()) || f[16][0][7] != 1 {
		t.Errorf("span %v", f)
	}
	if got := attributes(t, f[9]); !maps.Equal(got, map[string]any{"a": "b", "n": int64(503), "min": int64(math.MinInt64)}) {
		t.Errorf("attributes %v", got)
	}
	if status := decoded(t, f[15][0]); string(status[2][0]) != "why" || status[3][0][7] != 2 {
		t.Errorf("status %v", status)
	}
}

// FuzzReport gives both codecs any text: Zipkin's is JSON, OTLP's protobuf, and no text is longer than it may be.
func FuzzReport(f *testing.F) {
	f.Add("GET", "a\"b\\\x00\xff", "10.0.0.1:80", int64(-5), true)
	f.Add(strings.Repeat("ä", 200), strings.Repeat("\xff", 300), "[fe80::1%eth0]:1", int64(1<<62), false)
	f.Fuzz(func(t *testing.T, name, value, peer string, n int64, failed bool) {
		a, _ := netip.ParseAddrPort(peer)
		r := &report{span: span{lo: 1, id: uint64(n)}, name: name, start: time.Unix(0, n), end: time.Unix(0, n), service: value, peer: a,
			tags: []tag{{key: value, text: name}, {key: name, number: n}}, failed: failed, message: value}
		var got []struct {
			Name           string
			RemoteEndpoint map[string]any
			Tags           map[string]string
		}
		b := zipkin{}.join("", [][]byte{zipkin{}.appendSpan(nil, r), zipkin{}.appendSpan(nil, r)})
		if err := json.Unmarshal(b, &got); err != nil || len(got) != 2 || len(got[1].Tags) == 0 || (got[0].RemoteEndpoint != nil) != a.IsValid() {
			t.Fatalf("%v in %s", err, b)
		}
		if got[0].Name != fit(name) || !utf8.ValidString(got[0].Name) {
			t.Fatalf("name %q, want %q", got[0].Name, fit(name))
		}
		s := decoded(t, otlp{}.appendSpan(nil, r))
		if string(s[5][0]) != fit(name) || len(s[9]) != 2 {
			t.Fatalf("span %v", s)
		}
	})
}

func TestSplitPort(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port int
	}{"a:80": {"a", 80}, "a": {"a", 0}, "[::1]:443": {"[::1]", 443}, "[::1]": {"[::1]", 0}, "a:b": {"a:b", 0}, "": {"", 0}, "a:70000": {"a:70000", 0}} {
		if host, port := splitPort(in); host != want.host || port != want.port {
			t.Errorf("%q: %q, %d", in, host, port)
		}
	}
}
