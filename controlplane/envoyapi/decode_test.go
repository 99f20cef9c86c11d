package envoyapi

import (
	"encoding/json"
	"fmt"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestDecode: what is wrong is found where it stands.
func TestDecode(t *testing.T) {
	for name, c := range map[string]struct{ applyTo, value, want string }{
		"snake and camel case": {"CLUSTER", `{"name":"a","connect_timeout":"1s","lbPolicy":"RANDOM"}`, ""},
		"any":                  {"HTTP_FILTER", `{"name":"lua","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua","default_source_code":{"inline_string":"x"}}}`, ""},
		"typed struct": {"HTTP_FILTER", `{"name":"lua","typed_config":{"@type":"type.googleapis.com/xds.type.v3.TypedStruct",
			"type_url":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua","value":{"inlineCod":"x"}}}`,
			`[typed_config value inlineCod] unknown field "inlineCod" in envoy.extensions.filters.http.lua.v3.Lua; did you mean "inline_code"?`},
		"old typed struct": {"HTTP_FILTER", `{"name":"lua","typed_config":{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","value":{}}}`, ""},
		"misspelt":         {"CLUSTER", `{"conect_timeout":"1s"}`, `[conect_timeout] unknown field "conect_timeout" in envoy.config.cluster.v3.Cluster; did you mean "connect_timeout"?`},
		"old type": {"HTTP_FILTER", `{"typed_config":{"@type":"type.googleapis.com/envoy.config.filter.http.lua.v2.Lua"}}`,
			`[typed_config @type] envoy.config.filter.http.lua.v2.Lua is no type of Envoy's API; did you mean type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua?`},
		"no type":        {"HTTP_FILTER", `{"typed_config":{"inline_code":"x"}}`, `[typed_config] no "@type"; write "@type": type.googleapis.com/...`},
		"wrong value":    {"CLUSTER", `{"circuit_breakers":{"thresholds":[{},{"max_requests":"many"}]}}`, `[circuit_breakers thresholds 1 max_requests] invalid value for uint32 field value: "many"`},
		"wrong enum":     {"CLUSTER", `{"lb_policy":"BEST"}`, `[lb_policy] invalid value for enum field lbPolicy: "BEST"`},
		"inside any":     {"NETWORK_FILTER", `{"typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","idle_timeout":5}}`, `[typed_config idle_timeout] unexpected token 5`},
		"map of any":     {"HTTP_ROUTE", `{"typed_per_filter_config":{"x":{"@type":"type.googleapis.com/nothing"}}}`, `[typed_per_filter_config x @type] nothing is no type of Envoy's API`},
		"list, not item": {"CLUSTER", `{"filters":{"name":"x"}}`, `[filters] unexpected token {`},
	} {
		t.Run(name, func(t *testing.T) {
			var v map[string]any
			if err := json.Unmarshal([]byte(c.value), &v); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, p := range Decode(Message(c.applyTo), v) {
				got = fmt.Sprintf("%v %s", p.Path, p.Message)
				if p.Fix != "" {
					got += "; " + p.Fix
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestValidate: Envoy's own rules, below an Any too.
func TestValidate(t *testing.T) {
	for value, want := range map[string]bool{
		`{"name":"a"}`: true,
		`{}`:           false,
		`{"name":"a","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"}}`:                       false,
		`{"name":"a","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer","max_request_bytes":1}}`: true,
	} {
		var v map[string]any
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			t.Fatal(err)
		}
		m := Message("HTTP_FILTER")
		if ps := Decode(m, v); len(ps) > 0 {
			t.Fatal(ps)
		}
		if why := Validate(m); (why == "") != want {
			t.Errorf("%s: %q", value, why)
		}
	}
}

// TestTypes: the messages that no list here names are linked in by those that do.
func TestTypes(t *testing.T) {
	for _, url := range []string{"xds.type.v3.TypedStruct", "google.protobuf.StringValue", "google.protobuf.Struct"} {
		if _, err := protoregistry.GlobalTypes.FindMessageByURL("type.googleapis.com/" + url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
