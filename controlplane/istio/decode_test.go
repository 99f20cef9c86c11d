package istio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/internal/cost"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestDecode holds what a user is told about input.yaml. A case that has a file objects or spec shows what was read, too.
func TestDecode(t *testing.T) {
	golden.Run(t, "testdata/decode", func(t *testing.T, c *golden.Case) map[string]string {
		set, diags := Decode("input.yaml", bytes.NewReader(c.File("input.yaml")))
		set, converted := Today(set)
		diags = append(diags, converted...)
		var told strings.Builder
		for _, d := range diags {
			fmt.Fprintln(&told, d)
		}
		out := map[string]string{"diagnostics": told.String()}
		if c.File("objects") != nil {
			out["objects"] = refs(set)
		}
		if c.File("spec") != nil {
			out["spec"] = specs(t, set)
		}
		return out
	})
}

func refs(set Set) string {
	var b strings.Builder
	for _, m := range set.Metas() {
		fmt.Fprintf(&b, "%s %s\n", m.Ref, m.Position)
	}
	return b.String()
}

func specs(t *testing.T, set Set) string {
	var b strings.Builder
	show := func(m *Meta, spec any) {
		raw, err := json.Marshal(spec)
		if p, ok := spec.(proto.Message); ok {
			raw, err = protojson.Marshal(p)
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "# %s\n%s", m.Ref, text)
	}
	for _, o := range set.VirtualServices {
		show(&o.Meta, o.Spec)
	}
	for _, o := range set.DestinationRules {
		show(&o.Meta, o.Spec)
	}
	for _, o := range set.ServiceEntries {
		show(&o.Meta, o.Spec)
	}
	for _, o := range set.RateLimits {
		show(&o.Meta, o.Spec)
		for _, l := range o.Spec.Limits {
			for _, m := range l.Match {
				show(&o.Meta, m)
			}
		}
	}
	if set.Mesh != nil {
		show(&set.Mesh.Meta, set.Mesh.Spec)
	}
	return b.String()
}

// FuzzDecode: no input may crash, hang or give an object without a name.
func FuzzDecode(f *testing.F) {
	for _, c := range golden.Load(f, "testdata/decode") {
		f.Add(string(c.File("input.yaml")))
	}
	f.Add("a: &a [*a]")
	f.Add("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]")
	f.Add(strings.Repeat("[", 5000))
	f.Add("kind: VirtualService\napiVersion: networking.istio.io/v1\nmetadata: {name: a}\nspec: {http: [{match: [{uri: {regex: \"" + strings.Repeat("(a?){30}", 30) + "\"}}]}]}")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8<<10 {
			t.Skip("longer than what the bounds are for")
		}
		var set Set
		var diags Diagnostics
		cost.Within(t, func() { set, diags = Decode("fuzz.yaml", strings.NewReader(text)) })
		for _, m := range set.Metas() {
			if m.Name == "" || m.Kind == "" || !json.Valid(m.Raw) {
				t.Errorf("an object without name, kind or JSON: %+v", m)
			}
		}
		for _, d := range diags {
			if d.Code == "" || d.Message == "" || d.Position.File == "" {
				t.Errorf("a diagnostic without code, message or file: %+v", d)
			}
		}
	})
}

func TestDecodeRefusesWhatIsTooLarge(t *testing.T) {
	text := strings.Repeat(" ", maxFile) + "kind: x"
	set, diags := Decode("large.yaml", strings.NewReader(text))
	if len(diags) != 1 || diags[0].Code != CodeTooLarge || len(set.Metas()) > 0 {
		t.Errorf("got %v and %d objects", diags, len(set.Metas()))
	}
}
