package golanghost

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// TestContribConfigs: no contrib Envoy can be had for tests, so of these files only what the plugin reads is checked.
func TestContribConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(envoytest.Root(), "envoy-configs/contrib-golang/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.UnmarshalStrict(b, &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found := 0
		walk(doc, func(value any) {
			found++
			raw, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := registry.Parse(raw, registry.NewEnv()); err != nil {
				t.Errorf("%s: %v in %s", filepath.Base(file), err, raw)
			}
		})
		if found == 0 {
			t.Errorf("%s configures no plugin", filepath.Base(file))
		}
	}
}

// walk calls found for the value of each TypedStruct at or below node.
func walk(node any, found func(any)) {
	switch n := node.(type) {
	case []any:
		for _, e := range n {
			walk(e, found)
		}
	case map[string]any:
		if n["@type"] == "type.googleapis.com/xds.type.v3.TypedStruct" {
			found(n["value"])
			return
		}
		for _, e := range n {
			walk(e, found)
		}
	}
}
