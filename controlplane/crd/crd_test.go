package crd

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
)

var update = flag.Bool("update", false, "write charts/mizzen/crds")

const dir = "../../charts/mizzen/crds"

// TestFiles holds the chart's files to the code; `go test ./controlplane/crd -update` writes them.
func TestFiles(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for _, d := range all {
		text, err := YAML(d)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, FileName(d))
		made[file] = true
		if got, err := os.ReadFile(file); err == nil && bytes.Equal(got, text) {
			continue
		}
		if !*update {
			t.Fatalf("%s is stale: run `go test ./controlplane/crd -update`", file)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := filepath.Glob(dir + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if !made[file] {
			t.Errorf("%s is of no kind", file)
		}
	}
}

// TestStructural: the schemas are structural by Kubernetes' own rules, and no definition is too long for kubectl apply,
// which keeps it a second time in an annotation.
func TestStructural(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 200<<10 {
			t.Errorf("%s: %d bytes", d.Name, len(raw))
		}
		for _, v := range d.Spec.Versions {
			var in apiextensions.JSONSchemaProps
			if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &in, nil); err != nil {
				t.Fatal(err)
			}
			s, err := schema.NewStructural(&in)
			if err != nil {
				t.Errorf("%s %s: %v", d.Name, v.Name, err)
				continue
			}
			for _, e := range schema.ValidateStructural(nil, s) {
				t.Errorf("%s %s: %v", d.Name, v.Name, e)
			}
		}
	}
}
