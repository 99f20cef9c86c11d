// Package corpus reads the cases of testdata/inject for every test that is driven by them, and makes random pods. For tests only.
package corpus

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
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

// Options is options.yaml of a case. Everything may be left out.
type Options struct {
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

// Scenario is a case, read.
type Scenario struct {
	Options
	In     []byte // manifests
	Policy *inject.Policy
}

// Read reads a case.
func Read(t testing.TB, c *golden.Case) Scenario {
	t.Helper()
	s := Scenario{In: c.File("in.yaml")}
	if err := yaml.UnmarshalStrict(c.File("options.yaml"), &s.Options); err != nil {
		t.Fatalf("%s: read options: %v", c.Path, err)
	}
	if s.In == nil {
		s.In = annotated(t, s.Beneath(t, c).In, s.Options)
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
	s.Policy = p.With(mesh, all, !s.Classic)
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

// Beneath is the case that this one is told by the difference from.
func (s Scenario) Beneath(t testing.TB, c *golden.Case) Scenario {
	t.Helper()
	path := filepath.Join(filepath.Dir(c.Path), s.Base+".txtar")
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatalf("%s: read the base: %v", c.Path, err)
	}
	return Read(t, &golden.Case{Name: s.Base, Path: path, Archive: a})
}

// annotated adds to the pod template of a manifest.
func annotated(t testing.TB, in []byte, o Options) []byte {
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

// Inject is what kube-inject prints, and its warnings.
func (s Scenario) Inject() (out string, warnings []string, err error) {
	var b bytes.Buffer
	warnings, err = kubeinject.Run(s.Policy, kubeinject.Options{Namespace: s.Namespace}, bytes.NewReader(s.In), &b)
	return b.String(), warnings, err
}
