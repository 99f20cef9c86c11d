// Package annotation is the table of the annotations that Istio and Mizzen know: on which kinds each belongs, what its value may
// be, and who reads it. It knows no object: who has one asks about a name, a kind and a value.
package annotation

import (
	"slices"
	"strings"
	"sync"

	api "istio.io/api/annotation"
)

// Use says who reads an annotation.
type Use uint8

// Uses.
const (
	Read      Use = iota // Mizzen, where it compiles or runs what the object describes
	Injection            // whoever puts the sidecar into a pod: it describes that container, so a mesh without containers has no use for it
	Unused               // nobody here; Reason says why
)

// String returns the lower-case word.
func (u Use) String() string { return [...]string{"read", "injection", "unused"}[u] }

// Annotation is one of them.
type Annotation struct {
	Name string
	// Kinds are those of objects that it belongs on, sorted; Pod stands for pod templates too. Nil: any.
	Kinds  []string
	Value  Value
	Use    Use
	Reason string // what reads it, or why nothing does
	// Alpha and Deprecated are Istio's words on it; Instead says what to write in place of a deprecated one, "" if Istio does not.
	Alpha, Deprecated bool
	Instead           string
}

// All returns the table, sorted by name.
func All() []Annotation { return slices.Clone(all()) }

// Find looks an annotation up.
func Find(name string) (Annotation, bool) {
	i, ok := slices.BinarySearchFunc(all(), name, func(a Annotation, n string) int { return strings.Compare(a.Name, n) })
	if !ok {
		return Annotation{}, false
	}
	return all()[i], true
}

// Ours tells whether a name is in Istio's domain or in Mizzen's, so that no one else can have given it a meaning.
func Ours(name string) bool {
	domain, _, ok := strings.Cut(name, "/")
	switch {
	case !ok, strings.HasSuffix(domain, "operator.istio.io"): // the installer's own notes
		return false
	}
	return domain == "mizzen.dev" || domain == "istio.io" || strings.HasSuffix(domain, ".istio.io")
}

// On tells whether an annotation belongs on a kind.
func (a Annotation) On(kind string) bool {
	if template(kind) {
		kind = "Pod"
	}
	return a.Kinds == nil || slices.Contains(a.Kinds, kind)
}

// template tells whether the annotations of a kind are those of the pods that it makes; not so those of the object itself.
func template(kind string) bool { return kind == "PodTemplate" }

// all joins Istio's list, which knows names and kinds, with what this package knows of them.
var all = sync.OnceValue(func() []Annotation {
	byName := map[string]Annotation{}
	for _, a := range table() {
		byName[a.Name] = a
	}
	for _, x := range api.AllResourceAnnotations() {
		a, ok := byName[x.Name]
		if !ok {
			a = Annotation{Name: x.Name, Use: Unused, Reason: missing}
		}
		a.Alpha, a.Deprecated = x.FeatureStatus == api.Alpha, x.Deprecated
		for _, r := range x.Resources {
			if r == api.Any || r == api.Unknown {
				a.Kinds = nil
				break
			}
			a.Kinds = append(a.Kinds, r.String())
		}
		slices.Sort(a.Kinds)
		byName[x.Name] = a
	}
	out := make([]Annotation, 0, len(byName))
	for _, a := range byName {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Annotation) int { return strings.Compare(a.Name, b.Name) })
	return out
})

// missing is the reason of an annotation of Istio's that table lacks: a test fails on it.
const missing = "not in the table"
