package compile_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestConvertedIsTheSameWorld: old YAML and what `mizzen convert` makes of it come to the same World, but for the places.
func TestConvertedIsTheSameWorld(t *testing.T) {
	for _, c := range golden.Load(t, "../istio/testdata/convert") {
		t.Run(c.Name, func(t *testing.T) {
			var sources []istio.Source
			var sets []istio.Set
			for _, f := range c.Archive.Files {
				if strings.HasPrefix(f.Name, "input") {
					sources = append(sources, istio.Source{Name: f.Name, Text: string(f.Data)})
					set, _ := istio.Decode(f.Name, strings.NewReader(string(f.Data)))
					sets = append(sets, set)
				}
			}
			old, _ := istio.Concat(sets...)
			old, _ = istio.Today(old)
			out, _ := istio.Modern(sources)
			now, _ := istio.Decode("converted.yaml", strings.NewReader(out.YAML()))
			want, _ := compile.World(compile.Inputs{Set: nowhere(old)})
			got, _ := compile.World(compile.Inputs{Set: nowhere(now)})
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the Worlds differ; converted:\n%s", out.YAML())
			}
		})
	}
}

// nowhere takes the places out of a Set, which is the test's own.
func nowhere(s istio.Set) istio.Set {
	for _, m := range s.Metas() {
		m.Position, m.Places = istio.Position{}, nil
	}
	return s
}
