package injector

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/kubeinject"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

const corpus = "testdata/inject"

// options is options.yaml of a case. Everything may be left out.
type options struct {
	// Base is the case that this one is told by the difference from: its in.yaml, if this one has none, and its output in out.diff.
	// Without a base the whole output is in out.yaml.
	Base string `json:"base"`
	// Annotations and Labels are added to the pod template of the base's in.yaml.
	Annotations map[string]string `json:"annotations"`
	Labels      map[string]string `json:"labels"`

	Config json.RawMessage `json:"config"` // the two keys of ConfigMap istio-sidecar-injector
	Values json.RawMessage `json:"values"`
	Mesh   json.RawMessage `json:"mesh"` // MeshConfig
	// ProxyConfigs are objects of that kind.
	ProxyConfigs []struct {
		Metadata struct{ Name, Namespace string } `json:"metadata"`
		Spec     json.RawMessage                  `json:"spec"`
	} `json:"proxyConfigs"`
	Classic   bool   `json:"classic"` // the cluster has no native sidecars
	Namespace string `json:"namespace"`
}

// scenario is a case, read.
type scenario struct {
	options
	in     []byte
	policy *inject.Policy
}

func read(t testing.TB, c *golden.Case) scenario {
	t.Helper()
	s := scenario{in: c.File("in.yaml")}
	if err := yaml.UnmarshalStrict(c.File("options.yaml"), &s.options); err != nil {
		t.Fatalf("%s: read options: %v", c.Path, err)
	}
	if s.in == nil {
		s.in = annotated(t, read(t, base(t, s.Base)).in, s.options)
	}
	mesh := &meshconfig.MeshConfig{}
	message(t, s.Mesh, func(raw []byte) error { return protojson.Unmarshal(raw, mesh) })
	var all []effective.Resource
	for _, r := range s.ProxyConfigs {
		spec := &networking.ProxyConfig{}
		message(t, r.Spec, func(raw []byte) error { return protojson.Unmarshal(raw, spec) })
		all = append(all, effective.Resource{Namespace: r.Metadata.Namespace, Name: r.Metadata.Name, Spec: spec})
	}
	p, err := inject.New(s.Config, s.Values)
	if err != nil {
		t.Fatalf("%s: %v", c.Path, err)
	}
	s.policy = p.With(mesh, all, !s.Classic)
	return s
}

func message(t testing.TB, raw json.RawMessage, read func([]byte) error) {
	t.Helper()
	if raw == nil {
		return
	}
	if err := read(raw); err != nil {
		t.Fatal(err)
	}
}

// base reads a case that others are told by.
func base(t testing.TB, name string) *golden.Case {
	t.Helper()
	path := filepath.Join(corpus, name+".txtar")
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatalf("read the base: %v", err)
	}
	return &golden.Case{Name: name, Path: path, Archive: a}
}

// annotated adds to the pod template of a manifest.
func annotated(t testing.TB, in []byte, o options) []byte {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(in, &doc); err != nil {
		t.Fatal(err)
	}
	spec, _ := doc["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	metadata, ok := template["metadata"].(map[string]any)
	if !ok {
		t.Fatal("the base has no pod template with metadata")
	}
	for key, add := range map[string]map[string]string{"annotations": o.Annotations, "labels": o.Labels} {
		if len(add) == 0 {
			continue
		}
		m, _ := metadata[key].(map[string]any)
		if m == nil {
			m = map[string]any{}
		}
		for k, v := range maps.All(add) {
			m[k] = v
		}
		metadata[key] = m
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// inject is what kube-inject prints, and its warnings.
func (s scenario) inject() (out string, warnings []string, err error) {
	var b bytes.Buffer
	warnings, err = kubeinject.Run(s.policy, kubeinject.Options{Namespace: s.Namespace}, bytes.NewReader(s.in), &b)
	return b.String(), warnings, err
}

// TestCorpus: what comes out of every case, told whole or by the difference from another one; and again what comes out is left alone.
func TestCorpus(t *testing.T) {
	cases := golden.Load(t, corpus)
	if len(cases) < 100 {
		t.Errorf("%d cases, want 100 or more", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			s := read(t, c)
			out, warnings, err := s.inject()
			got := map[string]string{"warnings.txt": strings.Join(warnings, "\n"), "out.yaml": "", "out.diff": "", "error.txt": ""}
			switch {
			case err != nil:
				got["error.txt"] = err.Error()
			case out == string(s.in):
				got["out.yaml"] = "# as it came\n"
			case s.Base == "":
				got["out.yaml"] = out
			default:
				plain, _, err := read(t, base(t, s.Base)).inject()
				if err != nil {
					t.Fatal(err)
				}
				got["out.diff"] = golden.Diff(plain, out)
			}
			c.Check(t, got)
			if err == nil {
				sameByWebhook(t, s, out)
				s.in = []byte(out)
				if again, _, err := s.inject(); err != nil || again != out {
					t.Errorf("injected twice it is another (%v):\n%s", err, golden.Diff(out, again))
				}
			}
		})
	}
}
