package installer

import (
	"bytes"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/strvals"
)

// TestValues: mistakes in values are found before a cluster is asked, and told in words of the values.
func TestValues(t *testing.T) {
	for set, tt := range map[string]struct{ err, warning string }{
		"global.tag=test,controlplane.replicas=2,meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY": {},
		"gateways.ingress.labels.a=b,injector.config.policy=disabled,controlplane.env.A=b":            {},
		"profile=demo":                        {},
		"global.tga=test":                     {err: "read values: there is no value global.tga; did you mean global.tag?"},
		"controlplane.replcias=2":             {err: "read values: there is no value controlplane.replcias; did you mean controlplane.replicas?"},
		"gateway.ingress.enabled=false":       {err: "read values: there is no value gateway; did you mean gateways?"},
		"gateways.ingress.service.typ=A":      {err: "did you mean gateways.ingress.service.type?"},
		"colour=red":                          {err: "read values: there is no value colour; charts/mizzen/values.yaml lists all"},
		"profile=demoo":                       {err: `read values: profile "demoo" is none of default, demo, minimal`},
		"global.istioNamespace=istio-system":  {warning: "warning: value global.istioNamespace has no effect here\n"},
		"meshConfig.accesLogFile=/dev/stdout": {warning: `[MZ0203] meshConfig.accesLogFile: unknown field "accesLogFile" in meshConfig; did you mean "accessLogFile"?`},
		"meshConfig.accessLogEncoding=YAML":   {err: "accessLogEncoding"},
	} {
		var out, warnings bytes.Buffer
		o := Options{Namespace: "istio-system", Values: map[string]any{}, Out: &out, Warnings: &warnings}
		if err := strvals.ParseInto(set, o.Values); err != nil {
			t.Fatal(err)
		}
		err := Render(t.Context(), o)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if (tt.err == "") != (err == nil) || !strings.Contains(text, tt.err) || strings.Contains(text, ".yaml:") {
			t.Errorf("%s: %v, want %q", set, err, tt.err)
		}
		if (tt.warning == "") != (warnings.Len() == 0) || !strings.Contains(warnings.String(), tt.warning) {
			t.Errorf("%s: warnings %q, want %q", set, warnings.String(), tt.warning)
		}
		if (err == nil) != strings.Contains(out.String(), "kind: CustomResourceDefinition") {
			t.Errorf("%s: %d bytes rendered, error %v", set, out.Len(), err)
		}
	}
}
