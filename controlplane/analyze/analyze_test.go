package analyze_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/analyze"
	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

const corpus = "../testdata/analyze"

// TestCorpus: what mizzen analyze says of the YAML of a case.
func TestCorpus(t *testing.T) {
	golden.Run(t, corpus, func(t *testing.T, c *golden.Case) map[string]string {
		_, diags := all(c)
		var b strings.Builder
		for _, d := range diags {
			b.WriteString(d.String() + "\n")
		}
		return map[string]string{"diagnostics.txt": b.String()}
	})
}

// all is what is to be said of a case of any corpus.
func all(c *golden.Case) (*mesh.World, istio.Diagnostics) {
	var sets []istio.Set
	var diags istio.Diagnostics
	for _, f := range c.Archive.Files {
		if !strings.HasSuffix(f.Name, ".yaml") || strings.HasPrefix(f.Name, "node") || strings.HasPrefix(f.Name, "view") {
			continue
		}
		s, ds := istio.Decode(f.Name, bytes.NewReader(f.Data))
		sets, diags = append(sets, s), append(diags, ds...)
	}
	set, ds := istio.Merge(sets...)
	diags = append(diags, ds...)
	set, ds = istio.Today(set)
	diags = append(diags, ds...)
	w, ds := compile.World(compile.Inputs{Set: set})
	diags = append(append(diags, ds...), analyze.Findings(set, w)...)
	diags.Sort()
	return w, diags
}
