package registry_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// Every example of a policy's README is a valid configuration of that policy.
func TestReadmes(t *testing.T) {
	for _, kind := range registry.Kinds() {
		b, err := os.ReadFile("../" + kind.Name + "/README.md")
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(b), "```json\n")[1:]
		if len(blocks) == 0 {
			t.Errorf("%s: no examples", kind.Name)
		}
		for _, block := range blocks {
			example, _, _ := strings.Cut(block, "```")
			env := &filter.Env{Sends: true, Shared: func(_ string, make func() any) any { return make() }}
			if _, err := kind.New([]byte(example), env); err != nil {
				t.Errorf("%s: %v in:\n%s", kind.Name, err, example)
			}
		}
	}
}
