package istio

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

func decode(t *testing.T, src, text string) Set {
	t.Helper()
	set, diags := Decode(src, strings.NewReader(text))
	if worst(diags) == Error {
		t.Fatalf("%s: %v", src, diags)
	}
	return set
}

func services(names ...string) string {
	var docs []string
	for _, n := range names {
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 80}]}\n", n))
	}
	return strings.Join(docs, "---\n")
}

func TestMerge(t *testing.T) {
	deletion := func(kind, version, name string) string {
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, annotations: {mizzen.dev/deleted: 'true'}}\n", version, kind, name)
	}
	mesh := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: ''}\n"
	account := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n"
	tests := []struct {
		name string
		sets []string
		want string
	}{
		{"sorted", []string{services("b", "a"), services("c")}, "Service default/a 0:6, Service default/b 0:1, Service default/c 1:1"},
		{"later wins", []string{services("a", "b"), services("a")}, "Service default/a 1:1, Service default/b 0:6"},
		{"a deletion", []string{services("a", "b"), deletion("Service", "v1", "a")}, "Service default/b 0:6"},
		{"a deletion of another kind", []string{services("a"), deletion("ServiceAccount", "v1", "a")}, "Service default/a 0:1"},
		{"deleted, then made again", []string{services("a"), deletion("Service", "v1", "a"), services("a")}, "Service default/a 2:1"},
		{"a deletion of an other kind's object", []string{account, deletion("ServiceAccount", "v1", "a")}, ""},
		{"MeshConfig", []string{mesh, mesh}, "ConfigMap istio-system/istio 1:1"},
		{"nothing", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sets []Set
			for i, text := range tt.sets {
				sets = append(sets, decode(t, fmt.Sprint(i), text))
			}
			before := fmt.Sprint(len(sets))
			for _, s := range sets {
				before += refs(s)
			}
			out, diags := Merge(sets...)
			var got []string
			for _, m := range out.Metas() {
				got = append(got, fmt.Sprintf("%s %s:%d", m.Ref, m.Position.File, m.Position.Line))
			}
			if s := strings.Join(got, ", "); s != tt.want || len(diags) > 0 {
				t.Errorf("got %q %v, want %q", s, diags, tt.want)
			}
			after := fmt.Sprint(len(sets))
			for _, s := range sets {
				after += refs(s)
			}
			if before != after {
				t.Error("Merge changed its input")
			}
		})
	}
}

func TestFindKind(t *testing.T) {
	tests := map[string]string{
		"vs": "VirtualService", "virtualservice": "VirtualService", "VirtualServices": "VirtualService", "virtualservices.networking.istio.io": "VirtualService",
		"dr": "DestinationRule", "gw": "Gateway", "se": "ServiceEntry", "we": "WorkloadEntry", "sidecar": "Sidecar", "rl": "RateLimit",
		"svc": "Service", "po": "Pod", "deploy": "Deployment", "sts": "StatefulSet", "ep": "Endpoints", "ns": "Namespace", "cm": "ConfigMap",
		"endpointslices": "EndpointSlice", "networkpolicies": "NetworkPolicy", "ingresses": "Ingress", "routerule": "RouteRule", "x": "",
	}
	for word, want := range tests {
		k, ok := FindKind(word)
		if k.Name != want || ok != (want != "") {
			t.Errorf("FindKind(%q) = %q, %v; want %q", word, k.Name, ok, want)
		}
	}
}

// TestPlaces: every key and item has its line and column, and At falls back to what stands around it.
func TestPlaces(t *testing.T) {
	set := decode(t, "f", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: a
  annotations:
    mizzen.dev/sticky: header=x
spec:
  hosts: [a]
  http:
  - match:
    - uri: {prefix: /}
    - headers: {end-user: {exact: x}}
      query_params: {q: {}}
    route:
    - destination: {host: a}
`)
	m := &set.VirtualServices[0].Meta
	for path, want := range map[string]string{
		"spec.http[0].match[1]":                         "f:13:7",
		"spec.http[0].match[1].headers.end-user.exact":  "f:13:28",
		"spec.http[0].match[1].queryParams":             "f:14:7",
		"spec.http[0].match[0].uri.prefix":              "f:12:13",
		"spec.http[0].route[0].destination.port.number": "f:16:7",
		"spec.hosts[0]":                                 "f:9:11",
		`metadata.annotations["mizzen.dev/sticky"]`:     "f:7:5",
		"nowhere": "f:2:1",
	} {
		if got := m.At(path).String(); got != want {
			t.Errorf("At(%s) = %s, want %s", path, got, want)
		}
	}
}

// TestExamplesOfTheDocs: what the page on RateLimit shows can be applied.
func TestExamplesOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/ratelimit.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("no examples found")
	}
	for _, b := range blocks {
		set, diags := Decode("docs/ratelimit.md", strings.NewReader(b[1]))
		if len(diags) > 0 || len(set.RateLimits) != 1 {
			t.Errorf("%d RateLimits, %v", len(set.RateLimits), diags)
		}
	}
}

// TestLineEnds: a byte order mark and Windows line ends do no harm, and positions stay right.
func TestLineEnds(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(services("a", "b"), "\n", "\r\n")
	if got, want := refs(decode(t, "f", text)), "Service default/a f:1:1\nService default/b f:6:1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
