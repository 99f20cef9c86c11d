package match_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// FuzzCompile: any list of matches that compiles can be asked about any request, and the first that fits, taken together,
// is the first that fits alone.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`[{"path":{"prefix":"/a"},"method":{"exact":"GET"}},{"headers":[{"name":"x-a","regex":"a+|b{2}","invert":true}]}]`,
		`[{"ignorePathCase":true,"path":{"exact":"/A"}},{"cookies":[{"name":"c","present":true}],"query":[{"name":"q","suffix":"z"}]}]`,
		`[{"headers":[{"name":"x-b","absent":true},{"name":"x-a","exact":"","absentAsEmpty":true}]},{}]`,
		`[{"authority":{"exact":"a.test"},"scheme":{"exact":"http"}}]`,
	} {
		f.Add([]byte(s), "/a?q=xyz", "aa", "c=\"1\"; d=2")
	}
	f.Fuzz(func(t *testing.T, raw []byte, path, header, cookie string) {
		var rs []match.Request
		if json.Unmarshal(raw, &rs) != nil || len(rs) > 20 {
			return
		}
		all, err := match.CompileAny(rs)
		if err != nil {
			return
		}
		h := filter.NewHeaders([]filter.Header{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a.test"},
			{Name: ":path", Value: path}, {Name: "x-a", Value: header}, {Name: "x-a", Value: "second"}, {Name: "cookie", Value: cookie}})
		any := len(rs) == 0
		for i := range rs {
			m, err := match.Compile(rs[i])
			if err != nil {
				t.Fatalf("%d compiles among others, but not alone: %v", i, err)
			}
			any = any || m.Matches(h)
		}
		if got := all.Matches(h); got != any {
			t.Fatalf("together %v, one by one %v", got, any)
		}
	})
}

// FuzzKey: any key that compiles can be asked of any request, says the same twice, and never an empty value.
func FuzzKey(f *testing.F) {
	for _, s := range []string{`{"header":"x-a"}`, `{"cookie":"c"}`, `{"query":"q"}`, `{"path":true}`, `{"method":true}`, `{"sourceAddress":true}`,
		`{"traceId":true}`, `{"route":true}`, `{"literal":"l"}`} {
		f.Add([]byte(s), "/a?q=xyz", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "c=1")
	}
	f.Fuzz(func(t *testing.T, raw []byte, path, header, cookie string) {
		var k match.Key
		if json.Unmarshal(raw, &k) != nil {
			return
		}
		c, err := match.CompileKey(k)
		if err != nil {
			return
		}
		x := filtertest.NewExchange()
		for _, name := range []string{"x-a", "traceparent", "b3", "x-b3-traceid", "uber-trace-id", "x-ot-span-context", "x-request-id"} {
			x.Request.Set(name, header)
		}
		x.Request.Set(":path", path)
		x.Request.Set("cookie", cookie)
		v, ok := c.Value(x)
		again, _ := c.Value(x)
		if ok != (v != "") || v != again {
			t.Fatalf("%q, %v, then %q", v, ok, again)
		}
	})
}

// FuzzTraceID: an identity of a trace is lower-case hexadecimal without leading zeros, or part of a request id.
func FuzzTraceID(f *testing.F) {
	const w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	f.Add(w3c, "", "", "", "", "")
	f.Add("", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", "", "", "", "")
	f.Add("", "", "8448eb211c80319c", "8448eb211c80319c:1:0:1", "8448eb211c80319c;1;0", "")
	f.Add("", "0", "", "", "", "7c3a4a7e-1f6c-4d2f-9a5e-3f1f4b1a2b3c")
	f.Fuzz(func(t *testing.T, traceparent, b3, multi, jaeger, ot, id string) {
		h := filter.NewHeaders([]filter.Header{{Name: "traceparent", Value: traceparent}, {Name: "b3", Value: b3}, {Name: "x-b3-traceid", Value: multi},
			{Name: "uber-trace-id", Value: jaeger}, {Name: "x-ot-span-context", Value: ot}, {Name: "x-request-id", Value: id}})
		got := match.TraceID(h)
		hex := len(got) <= 32 && strings.Trim(got, "0123456789abcdef") == "" && !strings.HasPrefix(got, "0")
		if !hex && !strings.HasSuffix(id, got) {
			t.Fatalf("identity %q", got)
		}
	})
}
