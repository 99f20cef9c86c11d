package tracing

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func TestParseConfig(t *testing.T) {
	const export = `"protocol":"zipkin","cluster":"zipkin","service":"shop","kind":"server"`
	for _, c := range []struct{ name, raw, err string }{
		{"empty", `{}`, ""},
		{"full", `{"extract":["b3","w3c"],"inject":["w3c","b3","b3multi","jaeger","ot"],"keepRequestId":true,
			"sampling":{"percentage":0.01,"ignoreParent":true,"header":"X-Debug","perSecond":0.5},
			"baggage":{"maxBytes":100,"allow":["a"]}}`, ""},
		{"nothing", ``, "parsing tracing configuration"},
		{"two values", `{}{}`, "more than one"},
		{"unknown field", `{"sampling":{"percent":1}}`, `"percent"`},
		{"unknown format", `{"extract":["xray"]}`, `extract: format "xray"`},
		{"format twice", `{"inject":["b3","b3"]}`, "named twice"},
		{"percentage", `{"sampling":{"percentage":101}}`, "percentage"},
		{"perSecond", `{"sampling":{"perSecond":-1}}`, "perSecond"},
		{"header", `{"sampling":{"header":"a b"}}`, "header"},
		{"baggage", `{"baggage":{"maxBytes":-1}}`, "maxBytes"},
		{"export protocol", `{"export":{"protocol":"x"}}`, "export.protocol"},
		{"export cluster", `{"export":{"protocol":"zipkin"}}`, "export.cluster"},
		{"export service", `{"export":{"protocol":"zipkin","cluster":"z"}}`, "export.service"},
		{"export kind", `{"export":{"protocol":"zipkin","cluster":"z","service":"s"}}`, "export.kind"},
		{"export", `{"export":{` + export + `,"path":"/x","host":"z:1","interval":"0.5s","maxBatch":4096,"timeout":"2s"}}`, ""},
		{"export path", `{"export":{` + export + `,"path":"x"}}`, "export.path"},
		{"export host", `{"export":{` + export + `,"host":"a b"}}`, "export.host"},
		{"export interval", `{"export":{` + export + `,"interval":"1ms"}}`, "export.interval"},
		{"export batch", `{"export":{` + export + `,"maxBatch":5000}}`, "export.maxBatch"},
		{"export timeout", `{"export":{` + export + `,"timeout":"2m"}}`, "export.timeout"},
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
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Kind().New(raw, filtertest.Env()); err != nil {
				t.Errorf("what was written does not parse: %v", err)
			}
		})
	}
}

func TestExportNeedsAHostThatSends(t *testing.T) {
	raw := []byte(`{"export":{"protocol":"zipkin","cluster":"zipkin","service":"shop","kind":"server"}}`)
	env := filtertest.Env()
	env.Sends = false
	if _, err := Kind().New(raw, env); err == nil || !strings.Contains(err.Error(), "Envoy's own tracer") {
		t.Errorf("error %v, want one that says what to do", err)
	}
}
