package istio

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// TestFormerFields: what a schema lets in because it is in this list is indeed read, not unknown.
func TestFormerFields(t *testing.T) {
	wrap := map[string]string{
		"HTTPRoute":                "VirtualService {hosts: [a], http: [{%s, route: [{destination: {host: a}}], mirror: {host: b}}]}",
		"HTTPRouteDestination":     "VirtualService {hosts: [a], http: [{route: [{%s, destination: {host: a}}]}]}",
		"HTTPFaultInjection.Abort": "VirtualService {hosts: [a], http: [{fault: {abort: {httpStatus: 500, %s}}, route: [{destination: {host: a}}]}]}",
		"Destination":              "VirtualService {hosts: [a], http: [{route: [{destination: {%s}}]}]}",
		"DestinationRule":          "DestinationRule {%s}",
		"OutlierDetection":         "DestinationRule {host: a, trafficPolicy: {outlierDetection: {%s}}}",
		"ServiceEntry":             "ServiceEntry {hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], %s}",
		"EnvoyFilter":              "EnvoyFilter {%s, configPatches: []}",
		"JWTRule":                  "RequestAuthentication {jwtRules: [{issuer: a, %s}]}",
	}
	values := map[string]string{
		"websocketUpgrade": "true", "mirror_percent": "5", "percent": "5", "http": "{consecutiveErrors: 3}", "discovery": "DNS",
		"workloadLabels": "{app: a}", "jwks_uri": "https://a.example/keys", "name": "a",
		"removeRequestHeaders": "[a]", "removeResponseHeaders": "[a]",
	}
	for _, f := range FormerFields() {
		kind, spec, _ := strings.Cut(wrap[f.Message], " ")
		k, ok := FindKind(kind)
		if !ok {
			t.Fatalf("%s.%s: the test has no object for it", f.Message, f.Name)
		}
		field := f.Name + ": " + cmp.Or(values[f.Name], "{a: b}")
		text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: a}\nspec: "+spec, k.APIVersion(), kind, field)
		_, ds := Decode("a.yaml", strings.NewReader(text))
		if errs := ds.Errors(); len(errs) > 0 {
			t.Errorf("%s.%s: %v", f.Message, f.Name, errs)
		}
	}
}
