package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity of a Diagnostic.
type Severity uint8

// Severities, worst last.
const (
	Info Severity = iota
	Warning
	Error
)

// String returns Istio's capitalised word.
func (s Severity) String() string { return [...]string{"Info", "Warning", "Error"}[s] }

// MarshalText makes JSON and YAML carry the word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *Severity) UnmarshalText(text []byte) error {
	for _, known := range []Severity{Info, Warning, Error} {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("read severity: %q is none", text)
}

// Diagnostic is one thing to tell the user about one place in the configuration.
type Diagnostic struct {
	Code     string   `json:"code"` // IST0101 as istioctl analyze where it has one, MZ0001 where it has none
	Severity Severity `json:"severity"`
	Object   Ref      `json:"object,omitzero"`
	Position Position `json:"position,omitzero"`
	Path     string   `json:"path,omitempty"` // spec.http[0].route[1].weight
	Message  string   `json:"message"`
	// Fix says what to write instead; "" if the message does.
	Fix string `json:"fix,omitempty"`
}

// String formats as "Error [IST0101] (VirtualService default/reviews) file.yaml:12:5: message; fix".
func (d Diagnostic) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s [%s]", d.Severity, d.Code)
	if d.Object != (Ref{}) {
		fmt.Fprintf(&b, " (%s)", d.Object)
	}
	if p := d.Position.String(); p != "" {
		fmt.Fprintf(&b, " %s:", p)
	}
	if d.Path != "" {
		fmt.Fprintf(&b, " %s:", d.Path)
	}
	b.WriteString(" " + d.Message)
	if d.Fix != "" {
		b.WriteString("; " + d.Fix)
	}
	return b.String()
}

// Diagnostics is a list, sorted by Sort.
type Diagnostics []Diagnostic

// Sort orders by file, line, column, code, message, and what else there is.
func (ds Diagnostics) Sort() { slices.SortStableFunc(ds, Diagnostic.compare) }

func (d Diagnostic) compare(o Diagnostic) int {
	return cmp.Or(cmp.Compare(d.Position.File, o.Position.File), cmp.Compare(d.Position.Line, o.Position.Line),
		cmp.Compare(d.Position.Column, o.Position.Column), cmp.Compare(d.Code, o.Code), cmp.Compare(d.Message, o.Message),
		cmp.Compare(d.Path, o.Path), d.Object.Compare(o.Object), cmp.Compare(d.Severity, o.Severity), cmp.Compare(d.Fix, o.Fix))
}

// Errors returns those of severity Error.
func (ds Diagnostics) Errors() (out Diagnostics) {
	for _, d := range ds {
		if d.Severity == Error {
			out = append(out, d)
		}
	}
	return out
}

// Worst returns the worst severity; ok is false for an empty list.
func (ds Diagnostics) Worst() (s Severity, ok bool) {
	for _, d := range ds {
		s, ok = max(s, d.Severity), true
	}
	return s, ok
}
