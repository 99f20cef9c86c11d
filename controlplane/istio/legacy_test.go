package istio

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/internal/golden"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

const convertCases = "testdata/convert"

// convertInputs are the files of a case that are read.
func convertInputs(c *golden.Case) []Source {
	var out []Source
	for _, f := range c.Archive.Files {
		if strings.HasPrefix(f.Name, "input") {
			out = append(out, Source{f.Name, string(f.Data)})
		}
	}
	return out
}

// TestModern holds what `mizzen convert` prints, and that what it prints means what the old files mean.
func TestModern(t *testing.T) {
	golden.Run(t, convertCases, func(t *testing.T, c *golden.Case) map[string]string {
		sources := convertInputs(c)
		out, diags := Modern(sources)
		var told strings.Builder
		for _, d := range diags {
			fmt.Fprintln(&told, d)
		}
		checkModern(t, sources, out)
		return map[string]string{"output.yaml": out.YAML(), "diagnostics": told.String()}
	})
}

// checkModern holds properties of every conversion: once more changes nothing, nothing old is left that could be converted, and the
// output holds the very objects that the files come to in memory.
func checkModern(t *testing.T, sources []Source, out Rewritten) {
	t.Helper()
	text := out.YAML()
	again, _ := Modern([]Source{{"again.yaml", text}})
	if d := golden.Diff(text, again.YAML()); d != "" {
		t.Errorf("converting the output changes it:\n%s", d)
	}
	sets := make([]Set, 0, len(sources))
	for _, s := range sources {
		set, _ := Decode(s.Name, strings.NewReader(s.Text))
		sets = append(sets, set)
	}
	all, _ := Concat(sets...)
	want, _ := Today(all)
	want.Legacy = nil
	got, diags := Decode("converted.yaml", strings.NewReader(text))
	for _, d := range diags {
		if d.Code == CodeDeprecated && istioGroup(d.Object.Kind) {
			t.Errorf("the output has something obsolete: %s", d)
		}
	}
	if g, w := objects(got), objects(want); g != w {
		t.Errorf("the output does not hold what the files come to:\n%s\noutput:\n%s", golden.Diff(w, g), text)
	}
}

// objects lists a Set's objects with what they hold.
func objects(s Set) string {
	var b strings.Builder
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if v.Field(i).Kind() != reflect.Slice || v.Type().Field(i).Name == "Others" {
			continue
		}
		for j := range v.Field(i).Len() {
			o := v.Field(i).Index(j).Elem()
			m := o.FieldByName("Meta").Interface().(Meta)
			spec := o.FieldByName("Spec").Interface()
			raw, err := json.MarshalIndent(spec, "", " ")
			if p, ok := spec.(proto.Message); ok {
				raw = []byte(prototext.Format(p))
			}
			fmt.Fprintln(&b, m.Ref, m.Labels, m.Annotations, err)
			fmt.Fprintln(&b, strings.ReplaceAll(string(raw), "  ", " ")) // prototext varies its blanks
		}
	}
	return b.String()
}

// TestConvertIsIncremental: what a change does not bear on is the same value, and a Set is converted as if it were the first.
func TestConvertIsIncremental(t *testing.T) {
	rule := func(service, version string) string {
		return fmt.Sprintf("---\napiVersion: config.istio.io/v1alpha2\nkind: RouteRule\nmetadata: {name: %[1]s}\nspec:\n  destination: {name: %[1]s}\n  route: [{labels: {version: %[2]s}}]\n", service, version)
	}
	var c Converter
	var old *Decoded
	convert := func(text string) Set {
		old = DecodeAgain("x.yaml", text, old)
		got, _ := c.Convert(old.Set)
		want, _ := Today(old.Set)
		if g, w := objects(got), objects(want); g != w {
			t.Fatalf("not as the whole:\n%s", golden.Diff(w, g))
		}
		return got
	}
	first := convert(rule("a", "v1") + rule("b", "v1"))
	second := convert(rule("a", "v1") + rule("b", "v2"))
	if first.VirtualServices[0] != second.VirtualServices[0] || first.VirtualServices[1] == second.VirtualServices[1] {
		t.Error("the VirtualService of the unchanged rule should be the same value, and the other a new one")
	}
	if third := convert(""); len(third.VirtualServices) != 0 {
		t.Error("rules that are gone still count")
	}
}

// FuzzModern: no input may crash the converter, and its output stays as it is when it is converted again.
func FuzzModern(f *testing.F) {
	for _, c := range golden.Load(f, convertCases) {
		for _, s := range convertInputs(c) {
			f.Add(s.Text)
		}
	}
	for _, c := range golden.Load(f, "testdata/decode") {
		f.Add(string(c.File("input.yaml")))
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, diags := Modern([]Source{{"fuzz.yaml", text}})
		if !bytes.HasPrefix(bytes.TrimSpace(out.JSON()), []byte("{")) {
			t.Error("the JSON is no object")
		}
		for _, d := range diags {
			if d.Code == "" || d.Message == "" || d.Position.File == "" {
				t.Errorf("a diagnostic without code, message or file: %+v", d)
			}
		}
		once := out.YAML()
		twice, _ := Modern([]Source{{"fuzz.yaml", once}})
		if d := golden.Diff(once, twice.YAML()); d != "" {
			t.Errorf("converting the output changes it:\n%s", d)
		}
	})
}

// TestLegacyPage runs the examples of docs/legacy.md: each old block comes to the block behind it. `go test -update` writes those.
func TestLegacyPage(t *testing.T) {
	const page = "../../docs/legacy.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	example := regexp.MustCompile("(?s)```yaml old\n(.*?)```\n\n```yaml today\n(.*?)```")
	now := example.ReplaceAllStringFunc(string(raw), func(pair string) string {
		n++
		m := example.FindStringSubmatch(pair)
		out, diags := Modern([]Source{{"example.yaml", m[1]}})
		if errs := diags.Errors(); len(errs) > 0 {
			t.Error(errs)
		}
		return "```yaml old\n" + m[1] + "```\n\n```yaml today\n" + out.YAML() + "```"
	})
	if n < 5 {
		t.Errorf("the page has %d examples", n)
	}
	if now == string(raw) {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatalf("%s is stale (-page +convert; -update rewrites it):\n%s", page, golden.Diff(string(raw), now))
	}
	if err := os.WriteFile(page, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}
