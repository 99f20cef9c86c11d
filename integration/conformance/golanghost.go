package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// golanghost is a stock Envoy with the library for contrib's golang filter, through the module of that name.
type golanghost struct{}

func (golanghost) name() string                            { return "golanghost" }
func (golanghost) refuses(c *conformance.Case) string      { return c.Not["golang"] }
func (golanghost) sees(a conformance.Aspect) bool          { return a != conformance.SeesTime }
func (golanghost) flags(l logLine) []string                { return split(l.Metadata["flags"]) }
func (golanghost) annotations(l logLine) map[string]string { return l.Metadata }

const golangLibrary = "libmizzen-golang.so"

// module builds both libraries.
func (golanghost) module(t testing.TB) string {
	t.Helper()
	root := envoytest.Root()
	so := filepath.Join(root, "build", "libgolanghost.so")
	for _, cmd := range []*exec.Cmd{
		exec.Command(filepath.Join(root, "scripts", "golanghost"), so),
		exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w",
			"-o", filepath.Join(root, "build", golangLibrary), "./filters/cmd/golang"),
	} {
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatal(fmt.Errorf("build for golanghost: %w\n%s", err, out))
		}
	}
	return so
}

func golangConfig(kind, id string, config []byte) obj {
	out := moduleConfig(kind, id, config)
	out["dynamic_module_config"].(obj)["name"] = "golanghost"
	out["filter_name"] = "mizzen@" + golangLibrary
	return out
}

func (golanghost) filters(c *conformance.Case, id string) list {
	return list{obj{"name": "mizzen", "typed_config": golangConfig("DynamicModuleFilter", id, c.Config)}}
}

func (golanghost) routes(c *conformance.Case, id string) list {
	return routes(c, func(route obj, config []byte) {
		route["typed_per_filter_config"] = obj{"mizzen": golangConfig("DynamicModuleFilterPerRoute", id, config)}
	})
}

// stat: contrib fixes no names, so a series is the value of a label.
func (golanghost) stat(id, series string) string {
	name, labels, err := labelled(series)
	if err != nil {
		return "^$"
	}
	labels = strings.NewReplacer(";", `\.`, "=", `\.`).Replace(labels)
	return `(^|\.)` + id + `\.golang_(counter|gauge)\.name\.mizzen\.` + name + labels + `$`
}
