package conformance

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

var update = flag.Bool("update", false, "rewrite the table of filters/conformance/README.md")

const (
	tableBegin = "<!-- made by go test ./integration/conformance -run Table -update -->\n"
	tableEnd   = "<!-- end -->\n"
)

// TestTable holds the table of the README to the corpus. It needs no Envoy: what an executor refuses is known before.
func TestTable(t *testing.T) {
	file := filepath.Join(envoytest.Root(), "filters", "conformance", "README.md")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its marks", file)
	}
	made := table(load(t))
	if made == old {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; go test ./integration/conformance -run Table -update", file)
	}
	if err := os.WriteFile(file, []byte(before+tableBegin+made+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// column is an executor and what it refuses.
type column struct {
	name    string
	refuses func(*conformance.Case) string
}

func columns() []column {
	out := []column{{"inprocess", conformance.InProcess{}.Refuses}, {"wazero", (&wazero{}).Refuses}}
	golangRefuses := func(c *conformance.Case) string { return cmp.Or(c.Not["golang"], (&golang{}).Refuses(c)) }
	out = append(out, column{"golang", golangRefuses})
	for _, d := range []dialect{dynmod{}, wasm{}, golanghost{}, native{}} {
		out = append(out, column{d.name(), func(c *conformance.Case) string { return refuses(d, c) }})
	}
	return out
}

func table(cases []*conformance.Case) string {
	areas := map[string]int{}
	for _, c := range cases {
		areas[c.Area]++
	}
	var b strings.Builder
	b.WriteString("| | cases |")
	for _, col := range columns() {
		b.WriteString(" " + col.name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns())) + "\n")
	reasons := map[[2]string][]string{} // by executor and reason: titles
	for _, area := range slices.Sorted(maps.Keys(areas)) {
		fmt.Fprintf(&b, "| %s | %d |", area, areas[area])
		for _, col := range columns() {
			runs := 0
			for _, c := range cases {
				if c.Area != area {
					continue
				}
				if r := col.refuses(c); r != "" {
					reasons[[2]string{col.name, r}] = append(reasons[[2]string{col.name, r}], c.Title)
				} else {
					runs++
				}
			}
			fmt.Fprintf(&b, " %d |", runs)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| executor | cases not run | because |\n|---|---|---|\n")
	keys := slices.SortedFunc(maps.Keys(reasons), func(a, b [2]string) int {
		return cmp.Or(strings.Compare(a[0], b[0]), cmp.Compare(len(reasons[b]), len(reasons[a])), strings.Compare(a[1], b[1]))
	})
	for _, k := range keys {
		fmt.Fprintf(&b, "| %s | %d | %s |\n", k[0], len(reasons[k]), k[1])
	}
	return b.String()
}
