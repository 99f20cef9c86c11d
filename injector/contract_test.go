package injector

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/command"
	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestArguments: what the corpus's containers are told, their commands understand: every flag exists and takes the value.
func TestArguments(t *testing.T) {
	seen := map[string]int{}
	for _, c := range golden.Load(t, "testdata/inject") {
		out, _, err := corpus.Read(t, c).Inject()
		if err != nil || c.Name == "user-init" || c.Name == "user-proxy-classic" { // arguments of the user's own
			continue
		}
		for _, args := range commandLines(t, out) {
			root := &cobra.Command{Use: "mizzen"}
			cmdline.Prepare(root, command.All()...)
			cmd, rest, err := root.Find(args)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd == root {
				t.Errorf("%s: mizzen %s: %v", c.Name, strings.Join(args, " "), err)
			}
			seen[cmd.Name()]++
		}
	}
	for _, name := range []string{"iptables", "copy", "proxy", "request", "wait"} {
		if seen[name] == 0 {
			t.Errorf("no case runs mizzen %s: %v", name, seen)
		}
	}
}

// commandLines are the arguments of mizzen in injected manifests: those of the injector's containers, and of hooks.
func commandLines(t *testing.T, manifests string) [][]string {
	t.Helper()
	var out [][]string
	var walk func(x any)
	walk = func(x any) {
		switch x := x.(type) {
		case map[string]any:
			name, _ := x["name"].(string)
			image, _ := x["image"].(string)
			if args := texts(x["args"]); len(args) > 0 && image != "" && (strings.HasPrefix(name, "istio-") || strings.HasPrefix(name, "mizzen-module")) {
				out = append(out, args)
			}
			if words := texts(x["command"]); len(words) > 1 && words[0] == "/usr/local/bin/mizzen" {
				out = append(out, words[1:])
			}
			for _, v := range x {
				walk(v)
			}
		case []any:
			for _, v := range x {
				walk(v)
			}
		}
	}
	for _, doc := range bytes.Split([]byte(manifests), []byte("\n---")) {
		var x any
		if yaml.Unmarshal(doc, &x) == nil {
			walk(x)
		}
	}
	return slices.Clip(out)
}

func texts(x any) (out []string) {
	list, _ := x.([]any)
	for _, v := range list {
		s, _ := v.(string)
		out = append(out, s)
	}
	return out
}
