package compile_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/integration/generated"
	"github.com/mizzen-mesh/mizzen/internal/golden"
	"go.yaml.in/yaml/v3"
)

// atStart is why a view does not show what a proxy is started with: localmesh/plan's tests do.
const atStart = "it acts when the proxy is started"

// inPods is why a view does not show what the injector and a pod's agent act on: the case of injector/testdata/inject is named.
const inPods = "the injector acts on it: injector/testdata/inject/"

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
	"ProxyConfig spec.image":                                                                inPods + "proxyconfig-resource",
	"MeshConfig data.mesh.defaultConfig.image":                                              inPods + "mesh-image-type",
	"MeshConfig data.mesh.defaultConfig.interceptionMode":                                   inPods + "mesh-interception-none",
	"MeshConfig data.mesh.defaultConfig.statusPort":                                         inPods + "mesh-status-port",
	"MeshConfig data.mesh.defaultConfig.discoveryAddress":                                   inPods + "mesh-discovery",
	"MeshConfig data.mesh.defaultConfig.proxyAdminPort":                                     "a pod's agent has Envoy listen there: injector/agent's tests of settings",
	"MeshConfig data.mesh.enablePrometheusMerge":                                            inPods + "prometheus-mesh-off",
	"Sidecar spec.ingress[].connectionPool.http.h2UpgradePolicy":                            "a warning says that it has none; of DestinationRules it counts",
	"Sidecar spec.inboundConnectionPool.http.h2UpgradePolicy":                               "a warning says that it has none; of DestinationRules it counts",
	"MeshConfig data.mesh.meshMTLS.ecdhCurves":                                              "a warning says that it has none, as in Istio; tlsDefaults' count",
	"AuthorizationPolicy spec.targetRef.group":                                              "each kind has its group: with another the object is refused",
	"RequestAuthentication spec.targetRef.group":                                            "each kind has its group: with another the object is refused",
	"RequestAuthentication spec.targetRefs[].group":                                         "each kind has its group: with another the object is refused",
	"Telemetry spec.targetRef.group":                                                        "each kind has its group: with another the object is refused",
	"Telemetry spec.targetRefs[].group":                                                     "each kind has its group: with another the object is refused",
	"Telemetry spec.metrics[].overrides[].tagOverrides[*].operation":                        "REMOVE takes no value, and UPSERT needs one: of the two alone, the object is refused",
	"WasmPlugin spec.targetRef.group":                                                       "each kind has its group: with another the object is refused",
	"WasmPlugin spec.targetRefs[].group":                                                    "each kind has its group: with another the object is refused",
	"TrafficExtension spec.targetRefs[].group":                                              "each kind has its group: with another the object is refused",
}

// TestFieldsAreInCorpus: every Supported path is set in some case, and clearing or changing it there, so that the object is still
// read, changes what an Envoy of the case is given. That another diagnostic is told is no effect.
func TestFieldsAreInCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles the corpus once for every field")
	}
	wanted := map[string][]string{}
	for _, f := range istio.Fields() {
		if f.Status == istio.Supported {
			wanted[f.Kind] = append(wanted[f.Kind], f.Path)
		}
	}
	cases := loaded(t)
	values := map[string][]any{}
	for _, x := range cases {
		for _, d := range x.docs {
			for _, path := range wanted[d.kind] {
				d.visit(path, func(m map[string]any, key string) { values[d.kind+" "+path] = append(values[d.kind+" "+path], m[key]) })
			}
		}
	}
	if len(values) < 400 {
		t.Fatalf("only %d paths are set in the corpus: is it read at all?", len(values))
	}
	for _, kind := range slices.Sorted(maps.Keys(wanted)) {
		below := "" // a path that has an effect: what it stands below has one
		for _, path := range slices.Backward(wanted[kind]) {
			id := kind + " " + path
			if len(values[id]) == 0 {
				t.Errorf("%s: no case of the corpus sets it", id)
				continue
			}
			changed := strings.HasPrefix(below, path+".") || strings.HasPrefix(below, path+"[") || effective(t, cases, kind, path, values[id])
			if changed {
				below = path
			}
			switch _, excused := unseen[id]; {
			case !changed && !excused:
				t.Errorf("%s: neither clearing nor changing it changes what a proxy gets, in any case that sets it", id)
			case changed && excused:
				t.Errorf("%s: it has an effect now: take it out of unseen", id)
			}
		}
	}
}

// fieldCase is a case with its documents and what they come to.
type fieldCase struct {
	*golden.Case
	docs  []document
	base  *output
	build *xdsgen.Builder // with what was built before: most of it does not change
}

func loaded(t *testing.T) []*fieldCase {
	var out []*fieldCase
	for _, c := range golden.Load(t, corpus) {
		x := &fieldCase{Case: c, docs: documents(t, c), build: xdsgen.NewBuilder()}
		x.base = x.output(t, x.docs)
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b *fieldCase) int { return cmp.Compare(len(a.docs), len(b.docs)) }) // the quick ones first
	return out
}

// effective looks for a case and an edit of the path there that proxies notice.
func effective(t *testing.T, cases []*fieldCase, kind, path string, values []any) bool {
	for _, x := range cases {
		for i, d := range x.docs {
			if d.kind != kind || !d.visit(path, func(map[string]any, string) {}) {
				continue
			}
			for _, e := range edits(values) {
				for place := range 4 { // one after the other, for together they may exclude each other
					edited, ok := d.edit(path, place, e)
					if !ok {
						continue
					}
					docs := slices.Clone(x.docs)
					docs[i] = edited
					if got := x.output(t, docs); got.sum != x.base.sum && got.refused <= x.base.refused {
						return true
					}
				}
			}
		}
	}
	return false
}

// An edit changes one entry of a mapping; false: it does not know how.
type edit func(m map[string]any, key string) bool

// edits clear a value, change it a little, or put another value of the corpus in its place.
func edits(values []any) []edit {
	out := []edit{
		func(m map[string]any, key string) bool { delete(m, key); return true },
		func(m map[string]any, key string) bool { return nudge(m, key, 1) },
		func(m map[string]any, key string) bool { return nudge(m, key, -1) },
	}
	var seen []any
	for _, v := range values {
		if len(seen) == 12 || slices.ContainsFunc(seen, func(o any) bool { return reflect.DeepEqual(o, v) }) {
			continue
		}
		seen = append(seen, v)
		out = append(out, func(m map[string]any, key string) bool {
			same := reflect.DeepEqual(m[key], v)
			m[key] = generated.Clone(v)
			return !same
		})
	}
	return out
}

func nudge(m map[string]any, key string, by int) bool {
	switch v := m[key].(type) {
	case bool:
		m[key] = !v
	case int:
		m[key] = v + by
	case float64:
		m[key] = v + float64(by)/2
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			m[key] = (d + time.Duration(by)*time.Second).String()
		} else if by > 0 {
			m[key] = v + "x"
		} else {
			return false
		}
	case []any:
		switch text, ok := v[0].(string); {
		case len(v) > 1 && by > 0:
			m[key] = v[1:]
		case ok && by < 0:
			v[0] = text + "x"
		default:
			return false
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if s, ok := v[k].(string); ok && by > 0 {
				v[k] = s + "x"
				return true
			}
		}
		return false
	default:
		return false
	}
	return true
}

// lines of the documents move when anything is cleared.
var lines = regexp.MustCompile(`"Line":[0-9]+`)

// output is what the documents come to: a hash of everything that every proxy of the case gets, and how many errors decoding found.
type output struct {
	sum     [sha256.Size]byte
	refused int
}

func (x *fieldCase) output(t *testing.T, docs []document) *output {
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
	w, _ := compile.World(compile.Inputs{Set: set})
	for i, e := range w.Extensions { // as if every module had been fetched
		if e.Wasm != nil {
			there, wasm := *e, *e.Wasm
			wasm.Digest = strings.Repeat("0", 64)
			there.Wasm, w.Extensions[i] = &wasm, &there
		}
	}
	hash, all := sha256.New(), views(t, x.Case, w)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r, err := x.build.Build(all[name])
		if err != nil {
			t.Fatalf("%s: %s: %v", x.Name, name, err)
		}
		for i := range reflect.TypeOf(*r).NumField() {
			list, _ := reflect.ValueOf(*r).Field(i).Interface().([]*xdsgen.Resource)
			for _, one := range list {
				fmt.Fprintf(hash, "%s %d %s %s %x\n", name, i, one.Type, one.Name, one.Version)
			}
		}
	}
	modules, err := json.Marshal(w.Modules) // what the control plane fetches for them
	if err != nil {
		t.Fatalf("write modules: %v", err)
	}
	hash.Write(lines.ReplaceAll(modules, nil))
	return &output{[sha256.Size]byte(hash.Sum(nil)), len(diags.Errors())}
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

// edit returns a copy of the document in which e has changed one of the places of path, and whether it has.
func (d document) edit(path string, place int, e edit) (document, bool) {
	copied := document{d.kind, generated.Clone(d.root).(map[string]any)}
	ok := false
	copied.visit(path, func(m map[string]any, key string) {
		if place == 0 {
			ok = e(m, key)
		}
		place--
	})
	return copied, ok
}

// visit calls f for every place of path, and writes back what f changes of a MeshConfig, which is a document inside a string.
func (d document) visit(path string, f func(m map[string]any, key string)) bool {
	if d.kind != "MeshConfig" {
		return visit(d.root, strings.Split(path, "."), f)
	}
	data, _ := d.root["data"].(map[string]any)
	text, _ := data["mesh"].(string)
	var inner map[string]any
	if yaml.Unmarshal([]byte(text), &inner) != nil {
		return false
	}
	root := map[string]any{"data": map[string]any{"mesh": inner}}
	if !visit(root, strings.Split(path, "."), f) {
		return false
	}
	raw, err := yaml.Marshal(inner)
	if err != nil {
		return false
	}
	data["mesh"] = string(raw)
	return true
}

// visit finds what a path of istio.Fields leads to: "[]" after a list, "[*]" after a map.
func visit(v any, path []string, f func(m map[string]any, key string)) bool {
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
		f(m, key)
		return true
	}
	found := false
	switch {
	case strings.HasSuffix(path[0], "[]"):
		items, _ := child.([]any)
		for _, item := range items {
			found = visit(item, path[1:], f) || found
		}
	case strings.HasSuffix(path[0], "[*]"):
		items, _ := child.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(items)) {
			found = visit(items[name], path[1:], f) || found
		}
	default:
		found = visit(child, path[1:], f)
	}
	return found
}
