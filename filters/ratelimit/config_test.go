package ratelimit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func TestParseConfig(t *testing.T) {
	const limit = `"name":"l","requests":1,"per":"1m"`
	for _, c := range []struct{ name, raw, err string }{
		{"least", `{"limits":[{` + limit + `}]}`, ""},
		{"none", `{"limits":[]}`, ""},
		{"full", `{"maxKeys":10,"headers":"off","limits":[{` + limit + `,"burst":3,"algorithm":"tokenBucket","scope":"global",
			"action":"shadow","status":503,"match":[{"path":{"prefix":"/a"}}],"key":[{"header":"x-user"},{"route":true}],
			"overrides":[{"key":["a","*"],"requests":2,"per":"1s"}]},{"name":"c","concurrency":4}]}`, ""},
		{"not JSON", `x`, "parsing ratelimit configuration"},
		{"empty", ``, "parsing ratelimit configuration"},
		{"two values", `{"limits":[]} {}`, "more than one"},
		{"unknown field", `{"limits":[{` + limit + `,"brust":3}]}`, `"brust"`},
		{"no name", `{"limits":[{"requests":1,"per":"1m"}]}`, "limits[0]: name"},
		{"same name", `{"limits":[{` + limit + `},{` + limit + `}]}`, "named twice"},
		{"no requests", `{"limits":[{"name":"l","per":"1m"}]}`, `limit "l": requests`},
		{"no per", `{"limits":[{"name":"l","requests":1}]}`, "per 0s"},
		{"negative per", `{"limits":[{"name":"l","requests":1,"per":"-1s"}]}`, "-1s"},
		{"algorithm", `{"limits":[{` + limit + `,"algorithm":"leaky"}]}`, `"leaky"`},
		{"scope", `{"limits":[{` + limit + `,"scope":"mesh"}]}`, `"mesh"`},
		{"action", `{"limits":[{` + limit + `,"action":"log"}]}`, `"log"`},
		{"status", `{"limits":[{` + limit + `,"status":200}]}`, "status 200"},
		{"headers", `{"headers":"draft08","limits":[]}`, `"draft08"`},
		{"maxKeys", `{"maxKeys":-1,"limits":[]}`, "maxKeys"},
		{"key", `{"limits":[{` + limit + `,"key":[{}]}]}`, "key[0]"},
		{"match", `{"limits":[{` + limit + `,"match":[{"path":{"regex":"("}}]}]}`, "match"},
		{"override parts", `{"limits":[{` + limit + `,"key":[{"path":true}],"overrides":[{"key":["a","b"],"requests":1,"per":"1s"}]}]}`, "overrides[0]"},
		{"override numbers", `{"limits":[{` + limit + `,"key":[{"path":true}],"overrides":[{"key":["a"],"per":"1s"}]}]}`, "overrides[0]: requests"},
		{"window with burst", `{"limits":[{` + limit + `,"algorithm":"slidingWindow","burst":9}]}`, "burst"},
		{"endless", `{"limits":[{"name":"l","requests":1,"per":"24h","burst":4000000000}]}`, "50 years"},
		{"cost", `{"limits":[{` + limit + `,"burst":5,"hitsAddend":{"number":5}}]}`, ""},
		{"cost by header", `{"limits":[{` + limit + `,"hitsAddend":{"header":"x-cost","max":9}}]}`, ""},
		{"cost of nothing", `{"limits":[{` + limit + `,"hitsAddend":{}}]}`, "either number"},
		{"cost twice", `{"limits":[{` + limit + `,"hitsAddend":{"number":1,"header":"x"}}]}`, "either number"},
		{"cost with a max", `{"limits":[{` + limit + `,"hitsAddend":{"number":1,"max":2}}]}`, "max is for a header"},
		{"cost over the burst", `{"limits":[{` + limit + `,"hitsAddend":{"number":2}}]}`, "could ever pass"},
		{"cost over all bounds", `{"limits":[{` + limit + `,"hitsAddend":{"header":"x","max":1000000001}}]}`, "at most"},
		{"cost by no header", `{"limits":[{` + limit + `,"hitsAddend":{"header":"x y"}}]}`, "no header's name"},
		{"cost of a place", `{"limits":[{"name":"l","concurrency":1,"hitsAddend":{"number":2}}]}`, "one place"},
		{"concurrency and rate", `{"limits":[{` + limit + `,"concurrency":1}]}`, "must be absent"},
		{"concurrency and algorithm", `{"limits":[{"name":"l","concurrency":1,"algorithm":"gcra"}]}`, "algorithm"},
		{"global without cluster", `{"limits":[],"global":{"cluster":""}}`, "cluster"},
		{"global onError", `{"limits":[],"global":{"cluster":"c","onError":"x"}}`, "onError"},
		{"global timeout", `{"limits":[],"global":{"cluster":"c","timeout":"10us"}}`, "timeout"},
		{"global share", `{"limits":[],"global":{"cluster":"c","localShare":2}}`, "localShare"},
		{"global concurrency", `{"limits":[{"name":"c","concurrency":1,"scope":"global"}],"global":{"cluster":"c"}}`, "by each proxy"},
		{"override's action", `{"limits":[{` + limit + `,"key":[{"path":true}],"overrides":[{"key":["a"],"requests":1,"per":"2s","action":"x"}]}]}`, "overrides[0]: action"},
		{"onError of a local limit", `{"limits":[{` + limit + `,"onError":"deny"}]}`, "asks no service"},
		{"onError", `{"limits":[{` + limit + `,"scope":"global","onError":"close"}]}`, "want local, allow or deny"},
		{"localShare", `{"limits":[{` + limit + `,"localShare":2}]}`, "localShare 2"},
		{"enabled", `{"limits":[{` + limit + `,"enabled":101}]}`, "percentage"},
		{"headers of a limit", `{"limits":[{` + limit + `,"headers":"on"}]}`, "draft03 or off"},
		{"maxKeys of a limit", `{"limits":[{` + limit + `,"maxKeys":-1}]}`, "maxKeys -1"},
		{"all of a limit", `{"limits":[{` + limit + `,"scope":"global","onError":"deny","localShare":0.5,"enabled":50,"enforced":0.5,"maxKeys":5,"headers":"off"}]}`, ""},
		{"global", `{"limits":[{` + limit + `,"scope":"global","key":[{"path":true}],"overrides":[{"key":["a"],"requests":1,"per":"1m"}]}],
			"global":{"cluster":"c","domain":"d","timeout":"5ms","onError":"deny","localShare":0.5}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseConfig([]byte(c.raw))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := New(got, filtertest.Env()); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseConfig(raw); err != nil {
				t.Errorf("what was written does not parse: %v", err)
			}
		})
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"limits":[{"name":"l","requests":1,"per":"1m","key":[{"header":"x"}]}]}`), "a", int64(1e9))
	f.Add([]byte(`{"limits":[{"name":"l","requests":4,"per":"1m","algorithm":"slidingWindow"},{"name":"c","concurrency":1}]}`), "", int64(-5e9))
	f.Add([]byte(`{"limits":[{"name":"l","requests":4000000000,"per":"1ms","burst":7,"algorithm":"tokenBucket"}]}`), "b", int64(1))
	f.Fuzz(func(t *testing.T, raw []byte, header string, step int64) {
		c, err := ParseConfig(raw)
		if err != nil {
			return
		}
		p, err := New(c, filtertest.Env())
		if err != nil {
			t.Fatalf("parsed, but not made: %v", err)
		}
		x := filtertest.NewExchange()
		x.Host = filtertest.QuietHost{}
		x.Request.Set("x", header)
		for range 5 {
			if r := p.Request(x).Reply; r != nil && (r.Status < 400 || r.Headers[0].Value < "1" || strings.HasPrefix(r.Headers[0].Value, "-")) {
				t.Fatalf("reply %+v", r)
			}
			x.Response = filter.NewHeaders(nil)
			p.Response(x)
			if v := x.Response.Value("x-ratelimit-remaining"); strings.HasPrefix(v, "-") {
				t.Fatalf("remaining %s", v)
			}
			p.(filter.Ender).End(x)
			x.Now = x.Now.Add(time.Duration(step))
		}
	})
}
