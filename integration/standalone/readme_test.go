package standalone

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

const (
	dynamicModule = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
	golang        = "type.googleapis.com/envoy.extensions.filters.http.golang.v3alpha."
)

// contrib is an example of contrib-golang as contrib.sed turns it.
func contrib(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(envoytest.Root(), configs, "contrib-golang")
	out, err := exec.Command("sed", "-f", filepath.Join(dir, "contrib.sed"), filepath.Join(dir, name)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestContribForm: no contrib Envoy can be had for tests, so what contrib.sed makes is turned back, value by value, and
// must then be the example that ran. Its plugins' configurations are those of the example.
func TestContribForm(t *testing.T) {
	for name := range promises {
		t.Run(name, func(t *testing.T) {
			text := contrib(t, name)
			if strings.Contains(text, "golanghost") || strings.Contains(text, "dynamic_module") {
				t.Errorf("something of golanghost is left:\n%s", text)
			}
			got, want := parse(t, text), parse(t, read(t, "contrib-golang/"+name))
			plugins := 0
			got = walk(got, func(m map[string]any) { plugins += toGolanghost(t, m) })
			if plugins == 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("%d plugins; turned back it is\n%v\nand not\n%v", plugins, got, want)
			}
		})
	}
}

// toGolanghost turns contrib's filter, or its configuration on a route, into golanghost's, in place. It tells how many
// it found: 1 or none.
func toGolanghost(t *testing.T, m map[string]any) int {
	t.Helper()
	var config any
	module := map[string]any{"name": "golanghost", "do_not_close": true}
	suffix := ""
	switch m["@type"] {
	case golang + "Config":
		if m["library_id"] != "mizzen" || m["library_path"] != "build/libmizzen-golang.so" || m["plugin_name"] != "mizzen" || len(m) != 5 {
			t.Errorf("contrib's filter is %v", m)
		}
		config, module["metrics_namespace"] = m["plugin_config"], "mizzen"
	case golang + "ConfigsPerRoute":
		plugins, _ := m["plugins_config"].(map[string]any)
		plugin, _ := plugins["mizzen"].(map[string]any)
		config, suffix = plugin["config"], "PerRoute"
	default:
		return 0
	}
	clear(m)
	m["@type"], m["dynamic_module_config"], m["filter_name"], m["filter_config"] = dynamicModule+suffix, module, "mizzen@libmizzen-golang.so", config
	return 1
}

// walk visits every object at or below node, and returns node.
func walk(node any, visit func(map[string]any)) any {
	switch n := node.(type) {
	case []any:
		for _, e := range n {
			walk(e, visit)
		}
	case map[string]any:
		visit(n)
		for _, e := range n {
			walk(e, visit)
		}
	}
	return node
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var doc any
	if err := yaml.UnmarshalStrict([]byte(text), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return doc
}

// TestWasmLabels: proxy-wasm metrics carry their labels in their names, so each example must make labels of them.
func TestWasmLabels(t *testing.T) {
	chain := read(t, "wasm/chain.yaml")
	for _, kind := range registry.Kinds() {
		single := read(t, "wasm/"+kind.Name+".yaml")
		for _, m := range append([]*filter.Metric{filter.MetricPanics}, kind.Metrics...) {
			for _, label := range m.Labels {
				for name, config := range map[string]string{"chain": chain, kind.Name: single} {
					if !strings.Contains(config, "{tag_name: "+label+", ") {
						t.Errorf("wasm/%s.yaml makes no label %s of %s", name, label, m.Name)
					}
				}
			}
		}
	}
}

// TestFolderReadmes runs the commands of each folder's README against its fault.yaml.
func TestFolderReadmes(t *testing.T) {
	envoytest.Find(t)
	for _, h := range hosts {
		if h.folder == "wasm" { // the same commands as the other folders': a VM takes seconds to start
			continue
		}
		t.Run(h.folder, func(t *testing.T) {
			text := read(t, h.folder+"/README.md")
			if !strings.Contains(text, h.make+"\n") || !strings.Contains(text, "-c "+configs+"/"+h.folder+"/fault.yaml\n") || len(transcript(text)) == 0 {
				t.Errorf("it does not say how to run fault.yaml, or what to ask then")
			}
			replay(t, run(t, h, "fault.yaml"), text)
		})
	}
}

// TestPolicyReadmes: each policy's README has a filter for each host, and it is the one of that host's example, which
// TestConfigs runs.
func TestPolicyReadmes(t *testing.T) {
	for _, kind := range registry.Kinds() {
		b, err := os.ReadFile(filepath.Join(envoytest.Root(), "filters", kind.Name, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hosts {
			t.Run(kind.Name+"/"+h.folder, func(t *testing.T) {
				link := configs + "/" + h.folder + "/" + kind.Name + ".yaml"
				_, rest, ok := strings.Cut(string(b), "[`"+link+"`](../../"+link+")")
				_, rest, fenced := strings.Cut(rest, "```yaml\n")
				example, _, closed := strings.Cut(rest, "```")
				if !ok || !fenced || !closed {
					t.Fatalf("no link to %s with an example behind it", link)
				}
				config := read(t, h.folder+"/"+kind.Name+".yaml")
				if h.folder == "contrib-golang" {
					config = contrib(t, kind.Name+".yaml")
				}
				if !holds(parse(t, config), parse(t, example)) {
					t.Errorf("%s does not hold the README's\n%s", link, example)
				}
			})
		}
	}
}

// holds tells whether part, or each element of it if it is a list, or each member if it is none of Envoy's typed
// objects, is somewhere in whole.
func holds(whole, part any) bool {
	found := map[string]bool{}
	note := func(v any) {
		b, _ := json.Marshal(v) // came from YAML
		found[string(b)] = true
	}
	note(whole)
	var visit func(any)
	visit = func(node any) {
		note(node)
		switch n := node.(type) {
		case []any:
			for _, e := range n {
				visit(e)
			}
		case map[string]any:
			for k, e := range n {
				note(map[string]any{k: e})
				visit(e)
			}
		}
	}
	visit(whole)
	parts := []any{part}
	switch p := part.(type) {
	case []any:
		parts = p
	case map[string]any:
		parts = nil
		for k, e := range p {
			parts = append(parts, map[string]any{k: e})
		}
	}
	for _, p := range parts {
		b, _ := json.Marshal(p) // came from YAML
		if !found[string(b)] {
			return false
		}
	}
	return len(parts) > 0
}
