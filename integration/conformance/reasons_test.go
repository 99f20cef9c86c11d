package conformance

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// TestReasonsHold: a case that says why an executor differs does fail there. Where the executor cannot even be told of the
// case there is nothing to run.
func TestReasonsHold(t *testing.T) {
	begin(t)
	envoytest.Find(t)
	for _, d := range []dialect{native{}, newWasm(t)} {
		t.Run(d.name(), func(t *testing.T) {
			var all []*conformance.Case
			reasons := map[*conformance.Case]string{}
			for _, c := range load(t) {
				own := *c
				own.Not = nil
				if c.Not[d.name()] != "" && refuses(d, &own) == "" {
					all = append(all, &own)
					reasons[&own] = c.Not[d.name()]
				}
			}
			ex := start(t, d, all)
			for _, c := range all {
				if len(conformance.Wrong(ex, c)) == 0 {
					t.Errorf("%s: %q passes, so it is not so that %s", c.Area, c.Title, reasons[c])
				}
			}
		})
	}
}
