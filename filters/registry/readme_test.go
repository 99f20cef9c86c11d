package registry_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// configs are the types that the policies' READMEs must show whole.
var configs = map[string]any{
	"canary": canary.Config{}, "fault": fault.Config{}, "ratelimit": ratelimit.Config{}, "tracing": tracing.Config{},
}

func readme(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../" + name + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// examples are the blocks of JSON in a README.
func examples(text string) []string {
	var out []string
	for _, block := range strings.Split(text, "```json\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		out = append(out, example)
	}
	return out
}

// Every example of a policy's README is a valid configuration of that policy.
func TestReadmes(t *testing.T) {
	for _, kind := range registry.Kinds() {
		blocks := examples(readme(t, kind.Name))
		if len(blocks) == 0 {
			t.Errorf("%s: no examples", kind.Name)
		}
		for _, example := range blocks {
			env := &filter.Env{Sends: true, Spans: true, Resets: true, Shared: func(_ string, make func() any) any { return make() }}
			if _, err := kind.New([]byte(example), env); err != nil {
				t.Errorf("%s: %v in:\n%s", kind.Name, err, example)
			}
		}
	}
}

// A policy's README shows each field of its configuration in an example, but for those of package match, whose own README
// does.
func TestReadmesShowEveryField(t *testing.T) {
	if len(configs) != len(registry.Kinds()) {
		t.Errorf("%d configurations for %d policies", len(configs), len(registry.Kinds()))
	}
	for name, config := range configs {
		want := map[string][]string{}
		fields(reflect.TypeOf(config), "", false, want)
		missing(t, name, want)
	}
	want := map[string][]string{}
	fields(reflect.TypeFor[match.Request](), "match[].", true, want)
	fields(reflect.TypeFor[match.Key](), "key[].", true, want)
	missing(t, "match", want)
}

// missing reports the fields that no example in the README of a package shows, on any of their paths.
func missing(t *testing.T, name string, want map[string][]string) {
	t.Helper()
	shown := map[string]bool{}
	for _, example := range examples(readme(t, name)) {
		var v any
		if err := json.Unmarshal([]byte(example), &v); err != nil {
			t.Fatalf("%s: %v in:\n%s", name, err, example)
		}
		paths(v, "", shown)
	}
	for _, field := range slices.Sorted(maps.Keys(want)) {
		if !slices.ContainsFunc(want[field], func(path string) bool { return shown[path] }) {
			t.Errorf("filters/%s/README.md: no example shows %s, for instance at %s", name, field, want[field][0])
		}
	}
}

// fields notes where in the JSON of typ each field may stand: "ratelimit.Limit.name" at "limits[].name". Types of package
// match are leaves unless into.
func fields(typ reflect.Type, prefix string, into bool, out map[string][]string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fields(f.Type, prefix, into, out)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		path, field := prefix+name, typ.String()+"."+name
		out[field] = append(out[field], path)
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice {
				path += "[]"
			}
			inner = inner.Elem()
		}
		_, leaf := reflect.PointerTo(inner).MethodByName("UnmarshalJSON")
		if inner.Kind() == reflect.Struct && !leaf && (into || inner.PkgPath() != reflect.TypeFor[match.Request]().PkgPath()) {
			fields(inner, path+".", into, out)
		}
	}
}

// paths notes the paths of all members of v.
func paths(v any, prefix string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			path := strings.TrimPrefix(prefix+"."+name, ".")
			into[path] = true
			paths(e, path, into)
		}
	case []any:
		for _, e := range v {
			paths(e, prefix+"[]", into)
		}
	}
}

// A policy's README names each of its metrics, with the labels of each.
func TestReadmesNameEveryMetric(t *testing.T) {
	for _, kind := range registry.Kinds() {
		text := readme(t, kind.Name)
		for _, m := range kind.Metrics {
			line := regexp.MustCompile("(?m)^\\| `" + m.Name + "` \\|.*$").FindString(text)
			if line == "" {
				t.Errorf("filters/%s/README.md: no line of a table for %s", kind.Name, m.Name)
			}
			for _, label := range m.Labels {
				if !strings.Contains(line, "`"+label+"`") {
					t.Errorf("filters/%s/README.md: %s lacks its label %s", kind.Name, m.Name, label)
				}
			}
		}
	}
}

// told finds, in Go source, what a policy tells: keys of dynamic metadata, access-log flags, response code details.
var told = regexp.MustCompile(`Host\.Annotate\("(\w+)"|Host\.Flag\("(\w+)"\)|Flag:\s*"(\w+)"|Details:\s*"(\w+)"|annotationKey = "(\w+)"`)

// A policy's README names what it puts into access logs.
func TestReadmesNameWhatLogsShow(t *testing.T) {
	for _, kind := range registry.Kinds() {
		files, err := filepath.Glob("../" + kind.Name + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range told.FindAllStringSubmatch(string(b), -1) {
				names = append(names, strings.Join(m[1:], ""))
			}
		}
		slices.Sort(names)
		if len(names) == 0 {
			t.Errorf("%s tells nothing", kind.Name)
		}
		text := readme(t, kind.Name)
		for _, name := range slices.Compact(names) {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("filters/%s/README.md does not name `%s`", kind.Name, name)
			}
		}
	}
}
