package conformance

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// heading is what a row of the table is about.
type heading struct{ area, feature string }

// share is "all", a number, or "-".
func share(runs, of int) string {
	switch runs {
	case of:
		return "all"
	case 0:
		return "-"
	}
	return strconv.Itoa(runs)
}

func table(cases []*conformance.Case) string {
	var order []heading
	under := map[heading][]*conformance.Case{}
	for _, c := range cases {
		h := heading{c.Area, c.Feature}
		if under[h] == nil {
			order = append(order, h)
		}
		under[h] = append(under[h], c)
	}
	slices.SortStableFunc(order, func(a, b heading) int { return strings.Compare(a.area, b.area) })
	var b strings.Builder
	b.WriteString("| | | cases |")
	for _, col := range columns() {
		b.WriteString(" " + col.name + " |")
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(columns())) + "\n")
	reasons := map[[2]string][]string{} // by executor and reason: titles
	totals := make([]int, len(columns()))
	for _, h := range order {
		fmt.Fprintf(&b, "| %s | %s | %d |", h.area, h.feature, len(under[h]))
		for i, col := range columns() {
			runs := 0
			for _, c := range under[h] {
				if r := col.refuses(c); r != "" {
					reasons[[2]string{col.name, r}] = append(reasons[[2]string{col.name, r}], c.Title)
				} else {
					runs++
				}
			}
			totals[i] += runs
			b.WriteString(" " + share(runs, len(under[h])) + " |")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "| all | | %d |", len(cases))
	for _, n := range totals {
		fmt.Fprintf(&b, " %d |", n)
	}
	b.WriteString("\n")
	b.WriteString("\n| executor | cases not run | because |\n|---|---|---|\n")
	keys := slices.SortedFunc(maps.Keys(reasons), func(a, b [2]string) int {
		return cmp.Or(strings.Compare(a[0], b[0]), cmp.Compare(len(reasons[b]), len(reasons[a])), strings.Compare(a[1], b[1]))
	})
	for _, k := range keys {
		fmt.Fprintf(&b, "| %s | %d | %s |\n", k[0], len(reasons[k]), k[1])
	}
	return b.String()
}
