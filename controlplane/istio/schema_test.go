package istio

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/yaml"
)

// schemaObject is a JSON schema.
type schemaObject = map[string]any

func crdSchema(t *testing.T) schemaObject {
	t.Helper()
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema schemaObject }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(RateLimitCRD()), &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// at walks down properties; "[]" is the items of a list.
func at(s schemaObject, path ...string) schemaObject {
	for _, p := range path {
		if p == "[]" {
			s, _ = s["items"].(schemaObject)
			continue
		}
		props, _ := s["properties"].(schemaObject)
		s, _ = props[p].(schemaObject)
	}
	return s
}

func keys(s schemaObject) []string {
	props, _ := s["properties"].(schemaObject)
	return sortedKeys(props)
}

// TestCRDFitsTheTypes: the CRD names what Decode accepts, no more and no less.
func TestCRDFitsTheTypes(t *testing.T) {
	root := crdSchema(t)
	goFields := func(v any) []string {
		var order []string
		jsonFields(reflect.TypeOf(v), map[string]reflect.Type{}, &order)
		slices.Sort(order)
		return order
	}
	protoFields := func(d protoreflect.MessageDescriptor) []string {
		n := names(d)
		slices.Sort(n)
		return n
	}
	rule := append(goFields(RateLimitRule{}), "match")
	slices.Sort(rule)
	tests := map[string]struct {
		path []string
		want []string
	}{
		"spec":     {[]string{"spec"}, goFields(RateLimit{})},
		"selector": {[]string{"spec", "selector"}, goFields(RateLimitSelector{})},
		"target":   {[]string{"spec", "targetRefs", "[]"}, goFields(TargetRef{})},
		"limit":    {[]string{"spec", "limits", "[]"}, rule},
		"key":      {[]string{"spec", "limits", "[]", "key", "[]"}, goFields(RateLimitKey{})},
		"override": {[]string{"spec", "limits", "[]", "overrides", "[]"}, goFields(RateLimitOverride{})},
		"match":    {[]string{"spec", "limits", "[]", "match", "[]"}, protoFields((&networking.HTTPMatchRequest{}).ProtoReflect().Descriptor())},
		"string":   {[]string{"spec", "limits", "[]", "match", "[]", "uri"}, protoFields((&networking.StringMatch{}).ProtoReflect().Descriptor())},
	}
	for name, tt := range tests {
		if got := keys(at(root, tt.path...)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: the CRD has %v, the types have %v", name, got, tt.want)
		}
	}
}

// TestSchemaIsMadeFromTheCRD: `go test -update` writes it.
func TestSchemaIsMadeFromTheCRD(t *testing.T) {
	s := crdSchema(t)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "RateLimit (mizzen.dev/v1alpha1)"
	s["required"] = []any{"apiVersion", "kind", "metadata", "spec"}
	at(s, "apiVersion")["const"] = "mizzen.dev/v1alpha1"
	at(s, "kind")["const"] = "RateLimit"
	plain(s)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	if b.String() == RateLimitSchema() {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatal("schema/ratelimit.schema.json is stale: run `go test ./controlplane/istio -run SchemaIsMade -update`")
	}
	if err := os.WriteFile("schema/ratelimit.schema.json", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// plain takes away what only Kubernetes understands, and closes the objects: an unknown field is an error for us.
func plain(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			plain(x)
		}
	case schemaObject:
		_, props := v["properties"]
		if _, open := v["additionalProperties"]; props && !open && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, k := range sortedKeys(v) {
			if strings.HasPrefix(k, "x-kubernetes-") {
				delete(v, k)
				continue
			}
			plain(v[k])
		}
	}
}

// TestCRDPatternOfPer: the API server's pattern and Per agree.
func TestCRDPatternOfPer(t *testing.T) {
	pattern := at(crdSchema(t), "spec", "limits", "[]", "per")["pattern"].(string)
	for _, s := range []string{"second", "minute", "hour", "day", "10s", "1h30m", "0.5s", "250ms", "", "10", "week", "1d", "-1s x"} {
		_, err := Per(s)
		if fits := regexpMatch(t, pattern, s); fits != (err == nil) {
			t.Errorf("%q: the pattern says %v, Per %v", s, fits, err)
		}
	}
}

func regexpMatch(t *testing.T, pattern, s string) bool {
	t.Helper()
	re, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return re.MatchString(s)
}
