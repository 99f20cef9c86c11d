package analyze

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// SuppressAnnotation on an object keeps diagnostics of it from being told: codes separated by commas, or "*".
const SuppressAnnotation = "galley.istio.io/analyze-suppress"

// Suppression keeps diagnostics of one code, about some objects, from being told.
type Suppression struct{ code, object string }

// ParseSuppression reads istioctl's "CODE=KIND NAME.NAMESPACE". The name may also be written as it is printed, NAMESPACE/NAME, or
// without a namespace for any; * stands for anything, a code of * for all.
func ParseSuppression(s string) (Suppression, error) {
	code, object, ok := strings.Cut(s, "=")
	if !ok || code == "" || object == "" {
		return Suppression{}, fmt.Errorf("parse %q: want CODE=RESOURCE, such as \"IST0103=Pod a.default\"", s)
	}
	out := Suppression{strings.TrimSpace(code), flat(strings.TrimSpace(object))}
	if _, err := path.Match(out.object, ""); err != nil {
		return Suppression{}, fmt.Errorf("parse %q: %w", s, err)
	}
	return out, nil
}

// flat makes a * match a slash too.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func (s Suppression) holds(d istio.Diagnostic) bool {
	if s.code != "*" && s.code != d.Code {
		return false
	}
	o := d.Object
	for _, name := range []string{o.String(), o.Kind + " " + o.Name, o.Kind + " " + o.Name + "." + o.Namespace} {
		if ok, _ := path.Match(s.object, flat(name)); ok {
			return true
		}
	}
	return false
}

// Told leaves out what rules, or annotations on the objects of the Set, keep from being told. An object that could not be read is not in
// the Set: of it only rules are followed.
func Told(ds istio.Diagnostics, set istio.Set, rules []Suppression) istio.Diagnostics {
	codes := map[istio.Ref][]string{}
	for _, m := range set.Metas() {
		if v := m.Annotations[SuppressAnnotation]; v != "" {
			codes[m.Ref] = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	return slices.DeleteFunc(slices.Clone(ds), func(d istio.Diagnostic) bool {
		mine := codes[d.Object]
		return slices.Contains(mine, "*") || slices.Contains(mine, d.Code) || slices.ContainsFunc(rules, func(s Suppression) bool { return s.holds(d) })
	})
}
