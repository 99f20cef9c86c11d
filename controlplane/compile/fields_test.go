package compile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/internal/golden"
	"go.yaml.in/yaml/v3"
)

// places are lines of the documents, which move when anything is cleared.
var places = regexp.MustCompile(`case\.yaml:[0-9:]+|\(line [0-9]+\)|"Line":[0-9]+`)

// atStart is why a view does not show what a proxy is started with: localmesh/plan's tests do.
const atStart = "it acts when the proxy is started"

// unseen are Supported paths that no proxy's view can show, each with the reason.
var unseen = map[string]string{
	"WorkloadGroup spec.template.address":                                                   "a group has none: another than an empty one is refused",
	"WorkloadGroup spec.template.labels":                                                    "they stand in metadata: here others than none are refused",
	"ProxyConfig spec.selector":                                                             atStart,
	"ProxyConfig spec.selector.matchLabels":                                                 atStart,
	"ProxyConfig spec.concurrency":                                                          atStart,
	"ProxyConfig spec.environmentVariables":                                                 atStart,
	"MeshConfig data.mesh.defaultConfig.concurrency":                                        atStart,
	"MeshConfig data.mesh.defaultConfig.proxyMetadata":                                      atStart,
	"MeshConfig data.mesh.defaultConfig.runtimeValues":                                      atStart,
	"MeshConfig data.mesh.defaultConfig.serviceCluster":                                     atStart,
	"MeshConfig data.mesh.defaultConfig.tracingServiceName":                                 atStart,
	"MeshConfig data.mesh.defaultConfig.drainDuration":                                      atStart,
	"MeshConfig data.mesh.defaultConfig.terminationDrainDuration":                           atStart,
	"MeshConfig data.mesh.defaultConfig.fileFlushInterval":                                  atStart,
	"MeshConfig data.mesh.defaultConfig.fileFlushMinSizeKb":                                 atStart,
	"MeshConfig data.mesh.defaultConfig.meshId":                                             atStart,
	"MeshConfig data.mesh.defaultConfig.statsdUdpAddress":                                   atStart,
	"MeshConfig data.mesh.defaultConfig.holdApplicationUntilProxyStarts":                    atStart,
	"MeshConfig data.mesh.defaultConfig.connectionSettings.globalDownstreamConnectionLimit": atStart,
}

// TestFieldsAreInCorpus: every Supported path is set in some case, and clearing it there changes a view or a diagnostic.
func TestFieldsAreInCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles the corpus once for every field")
	}
	effect := map[string]bool{} // by "Kind path": false if set in a case, true if clearing it changed something
	wanted := map[string][]string{}
	for _, f := range istio.Fields() {
		if f.Status == istio.Supported {
			wanted[f.Kind] = append(wanted[f.Kind], f.Path)
		}
	}
	for _, c := range golden.Load(t, corpus) {
		docs := documents(t, c)
		base := ""
		for i, d := range docs {
			for _, path := range wanted[d.kind] {
				id := d.kind + " " + path
				if effect[id] {
					continue
				}
				cut, found := d.without(path)
				if !found {
					continue
				}
				if base == "" {
					base = fingerprint(t, c, docs)
				}
				changed := slices.Clone(docs)
				changed[i] = cut
				effect[id] = fingerprint(t, c, changed) != base
			}
		}
	}
	for kind, paths := range wanted {
		for _, p := range paths {
			id := kind + " " + p
			changed, set := effect[id]
			switch _, excused := unseen[id]; {
			case !set:
				t.Errorf("%s: no case of the corpus sets it", id)
			case !changed && !excused:
				t.Errorf("%s: clearing it changes nothing in any case that sets it", id)
			case changed && excused:
				t.Errorf("%s: it has an effect now: take it out of unseen", id)
			}
		}
	}
}

// fingerprint is everything that the documents come to, without positions.
func fingerprint(t *testing.T, c *golden.Case, docs []document) string {
	var src bytes.Buffer
	for _, d := range docs {
		b, err := yaml.Marshal(d.root)
		if err != nil {
			t.Fatalf("write document: %v", err)
		}
		src.WriteString("---\n")
		src.Write(b)
	}
	set, diags := istio.Decode("case.yaml", &src)
	o := run(t, c, set)
	var b strings.Builder
	for _, d := range append(diags, o.Diagnostics...) {
		fmt.Fprintln(&b, d.Code, d.Path, places.ReplaceAllString(d.Message, ""))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Views)) {
		j, err := json.Marshal(o.Views[name])
		if err != nil {
			t.Fatalf("write view: %v", err)
		}
		b.Write(places.ReplaceAll(j, nil))
	}
	j, err := json.Marshal(o.Modules)
	if err != nil {
		t.Fatalf("write modules: %v", err)
	}
	b.Write(places.ReplaceAll(j, nil))
	return b.String()
}

// document is one YAML document; root is a tree of maps, lists and scalars.
type document struct {
	kind string
	root map[string]any
}

func documents(t *testing.T, c *golden.Case) []document {
	var out []document
	for _, f := range c.Archive.Files {
		if !isInput(f.Name) {
			continue
		}
		d := yaml.NewDecoder(bytes.NewReader(f.Data))
		for {
			var root map[string]any
			err := d.Decode(&root)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: read %s: %v", c.Name, f.Name, err)
			}
			kind, _ := root["kind"].(string)
			if kind == "ConfigMap" {
				kind = "MeshConfig"
			}
			out = append(out, document{kind, root})
		}
	}
	return out
}

// without returns a copy of the document in which path is nowhere set, and whether it was.
func (d document) without(path string) (document, bool) {
	root := d.root
	text, isMesh := "", d.kind == "MeshConfig"
	if isMesh { // a YAML document inside a string
		text, _ = root["data"].(map[string]any)["mesh"].(string)
		var inner map[string]any
		if yaml.Unmarshal([]byte(text), &inner) != nil {
			return d, false
		}
		root = map[string]any{"data": map[string]any{"mesh": inner}}
	}
	copied := clone(root).(map[string]any)
	if !remove(copied, strings.Split(path, ".")) {
		return d, false
	}
	if isMesh {
		inner, err := yaml.Marshal(copied["data"].(map[string]any)["mesh"])
		if err != nil {
			return d, false
		}
		whole := clone(d.root).(map[string]any)
		whole["data"].(map[string]any)["mesh"] = string(inner)
		copied = whole
	}
	return document{d.kind, copied}, true
}

// remove deletes what a path of istio.Fields leads to: "[]" after a list, "[*]" after a map.
func remove(v any, path []string) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	key, _, _ := strings.Cut(path[0], "[")
	child, ok := m[key]
	if !ok {
		return false
	}
	if len(path) == 1 {
		delete(m, key)
		return true
	}
	found := false
	switch {
	case strings.HasSuffix(path[0], "[]"):
		items, _ := child.([]any)
		for _, item := range items {
			found = remove(item, path[1:]) || found
		}
	case strings.HasSuffix(path[0], "[*]"):
		items, _ := child.(map[string]any)
		for _, item := range items {
			found = remove(item, path[1:]) || found
		}
	default:
		found = remove(child, path[1:])
	}
	return found
}

func clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = clone(e)
		}
		return out
	}
	return v
}
