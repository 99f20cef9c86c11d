package tracing_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// Every example of the README is a valid configuration.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(b), "```json\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("no examples")
	}
	for _, block := range blocks {
		example, _, _ := strings.Cut(block, "```")
		if _, err := tracing.ParseConfig([]byte(example)); err != nil {
			t.Errorf("%v in:\n%s", err, example)
		}
	}
}
