package istio

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/annotation"
)

// TestSupportPage holds docs/istio-support.md to the table; `go test -update` writes it.
func TestSupportPage(t *testing.T) {
	const page = "../../docs/istio-support.md"
	want := supportPage(t)
	got, err := os.ReadFile(page)
	if err == nil && string(got) == want {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatalf("%s is stale: run `go test ./controlplane/istio -run SupportPage -update`", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func supportPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# What of Istio's API Mizzen supports

This page is generated from the support table (controlplane/istio/fields_table.go); a test fails when it is stale, and when a field of the
API is missing from it. Kinds are read as networking.istio.io/v1, v1beta1 and v1alpha3, which share one schema. An unknown field is an error.
The codes of diagnostics are in [diagnostics.md](diagnostics.md).

| status | what happens to a field of it |
|---|---|
| supported | it takes effect |
| descriptive | it is a name for people; nothing depends on it |
| obsolete | it is read as its author meant it, with a warning that says what to write (IST0002) |
| ignored | it has no effect, and a warning says so (MZ0202) |
| rejected | the object is refused with the reason (MZ0201): without this field it would do something else than its author meant |
`)
	kind := ""
	printed := map[string]string{} // message -> the path where its fields are listed
	skip := ""
	for _, f := range Fields() {
		if f.Kind != kind {
			kind, printed, skip = f.Kind, map[string]string{}, ""
			fmt.Fprintf(&b, "\n## %s\n\n| field | type | status | |\n|---|---|---|---|\n", kind)
		}
		if skip != "" && (strings.HasPrefix(f.Path, skip+".") || strings.HasPrefix(f.Path, skip+"[")) {
			continue
		}
		note := f.Reason
		for _, v := range sortedKeys(f.Values) {
			note += fmt.Sprintf("; %s rejected: %s", v, f.Values[v])
		}
		name := strings.TrimPrefix(strings.TrimPrefix(f.Type, "list of "), "map of ")
		if f.Status == Supported && strings.ToUpper(name[:1]) == name[:1] && !wellKnown(name) {
			if first := printed[name]; first != "" && !strings.HasPrefix(f.Path, first) {
				note, skip = "as "+first, f.Path
			} else {
				printed[name] = f.Path
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Path, f.Type, f.Status, strings.TrimPrefix(note, "; "))
	}
	b.WriteString(`
## Annotations

Those of Istio's domain and of Mizzen's. Another name in these domains is told as IST0108 or MZ0204, one on another kind as IST0107, another value as
IST0125 or by who reads it. What is for injection describes the sidecar as a container of a pod: the local mesh, which has none, makes nothing of it.

| annotation | on | value | status | |
|---|---|---|---|---|
`)
	for _, a := range annotation.All() {
		on := "any"
		if a.Kinds != nil {
			on = strings.Join(a.Kinds, ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", a.Name, on, a.Value, a.Use, a.Reason)
	}
	return b.String()
}

func wellKnown(name string) bool {
	switch name {
	case "Duration", "Bool", "UInt32", "UInt64", "Int32", "Double", "String":
		return true
	}
	return false
}
