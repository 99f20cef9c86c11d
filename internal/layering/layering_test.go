// Package layering holds the house to its plan: who may import whom, and the rules of docs/architecture.md that a
// machine can check.
package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/mizzen-mesh/mizzen/"

// rule says what the packages under a prefix may import. allow lists prefixes of this module ("/"-less: the path after
// the module) and of other modules; std is what of the standard library is refused.
type rule struct {
	prefix string
	allow  []string // nil: no limit
	refuse []string // standard library packages
}

var protos = []string{"github.com/envoyproxy/go-control-plane/", "github.com/cncf/xds/", "google.golang.org/"}

// rules: the first prefix that fits wins. The table of docs/architecture.md, in code.
var rules = []rule{
	{"filters/filtertest", []string{"filters/"}, nil},
	{"filters/conformance", []string{"filters/", "go.yaml.in/yaml/"}, []string{"os", "net", "net/http"}},
	{"filters/registry", []string{"filters/"}, []string{"os", "net", "net/http"}},
	{"filters/host/dynmod", []string{"filters/", "github.com/envoyproxy/envoy/source/extensions/dynamic_modules/"}, nil},
	{"filters/host/golang", []string{"filters/", "github.com/envoyproxy/envoy/contrib/golang/common/go/api", "google.golang.org/protobuf/"}, nil},
	{"filters/cmd/", []string{"filters/", "github.com/envoyproxy/envoy/"}, nil},
	{"filters/", []string{"filters/filter", "filters/match"}, []string{"os", "net", "net/http"}},
	{"controlplane/mesh", []string{"filters/"}, nil},
	{"controlplane/envoyapi", append([]string{"internal/protoerr"}, protos...), nil},
	{"controlplane/istio/cel", []string{}, []string{"os", "net", "net/http"}},
	{"controlplane/annotation", []string{"controlplane/mesh", "istio.io/api/annotation"}, []string{"os", "net", "net/http"}},
	{"controlplane/istio", []string{"controlplane/envoyapi", "controlplane/annotation", "controlplane/istio/cel", "istio.io/api/", "google.golang.org/protobuf/", "sigs.k8s.io/yaml", "go.yaml.in/yaml/", "k8s.io/api/", "k8s.io/apimachinery/", "internal/nearest"}, nil},
	{"controlplane/crd", []string{"controlplane/istio", "istio.io/api/", "google.golang.org/protobuf/", "k8s.io/apiextensions-apiserver/pkg/apis/", "k8s.io/apimachinery/", "sigs.k8s.io/yaml"}, nil},
	{"controlplane/admission", []string{"controlplane/analyze", "controlplane/istio", "k8s.io/api/admission/", "k8s.io/apimachinery/", "k8s.io/client-go/dynamic"}, nil},
	{"controlplane/status", []string{"controlplane/crd", "controlplane/istio", "k8s.io/api/", "k8s.io/apimachinery/", "k8s.io/client-go/", "golang.org/x/sync/"}, nil},
	{"controlplane/analyze", []string{"controlplane/annotation", "controlplane/istio", "controlplane/mesh", "istio.io/api/", "k8s.io/api/"}, nil},
	{"controlplane/effective", []string{"internal/protoerr", "istio.io/api/", "google.golang.org/protobuf/", "sigs.k8s.io/yaml"}, nil},
	{"controlplane/compile", []string{"controlplane/effective", "controlplane/istio", "controlplane/mesh", "filters/", "istio.io/api/", "k8s.io/api/", "k8s.io/apimachinery/", "google.golang.org/protobuf/"}, nil},
	{"controlplane/view", []string{"controlplane/mesh", "filters/"}, nil},
	{"controlplane/xdsgen/native", append([]string{"filters/"}, protos...), nil},
	{"controlplane/nds", []string{"google.golang.org/protobuf/encoding/protowire"}, []string{"os", "net", "net/http"}},
	{"controlplane/xdsgen", append([]string{"controlplane/mesh", "controlplane/nds", "controlplane/envoyapi", "controlplane/xdsgen/native", "filters/"}, protos...), nil},
	{"controlplane/bootstrap", append([]string{"controlplane/mesh", "filters/registry"}, protos...), nil},
	{"controlplane/source/dir", []string{"controlplane/istio", "internal/wholefile", "github.com/fsnotify/fsnotify"}, nil},
	{"controlplane/source/kube", []string{"controlplane/annotation", "controlplane/istio", "controlplane/mesh", "istio.io/api/", "k8s.io/", "golang.org/x/sync/"}, nil},
	{"controlplane/server", append([]string{"controlplane/istio", "controlplane/view", "controlplane/xdsgen", "controlplane/mesh", "filters/", "github.com/prometheus/"}, protos...), nil},
	{"controlplane/", nil, nil},
	{"injector/handover", []string{}, []string{"os", "net", "net/http"}},
	{"injector/inject", []string{"injector/handover", "controlplane/annotation", "controlplane/effective", "controlplane/mesh", "internal/nearest", "istio.io/api/", "k8s.io/api/", "k8s.io/apimachinery/", "google.golang.org/protobuf/", "sigs.k8s.io/yaml", "github.com/Masterminds/sprig/"}, []string{"os", "net", "net/http"}},
	{"injector/kubeinject", []string{"injector/inject", "k8s.io/api/", "sigs.k8s.io/yaml"}, []string{"os", "net", "net/http"}},
	{"injector/dns", append([]string{"controlplane/nds", "github.com/miekg/dns"}, protos...), nil},
	{"wasm/wasmtest", []string{"github.com/tetratelabs/wazero"}, nil},
	{"wasm/", []string{"filters/", "wasm/", "github.com/proxy-wasm/proxy-wasm-go-sdk/"}, nil},
	{"injector/iptables", []string{"github.com/spf13/pflag", "github.com/vishvananda/netlink", "golang.org/x/sys/"}, nil},
	{"injector/cni", []string{"injector/handover", "injector/iptables", "internal/netns", "internal/wholefile", "github.com/containernetworking/cni/", "github.com/fsnotify/fsnotify", "github.com/spf13/pflag"}, nil},
	{"injector/agent", append([]string{"controlplane/bootstrap", "controlplane/ca/agent", "controlplane/effective", "controlplane/mesh", "injector/dns", "internal/", "istio.io/api/", "sigs.k8s.io/yaml"}, protos...), nil},
	{"injector/command", []string{"injector/", "internal/", "localmesh/standin", "github.com/spf13/cobra"}, nil},
	{"injector/settings", []string{"controlplane/effective", "injector/inject", "istio.io/api/", "k8s.io/", "google.golang.org/protobuf/"}, nil},
	{"injector/early", []string{"k8s.io/api/", "k8s.io/apimachinery/", "k8s.io/client-go/kubernetes"}, nil},
	{"injector/webhook", []string{"injector/inject", "internal/serving", "k8s.io/api/", "k8s.io/apimachinery/", "github.com/prometheus/", "golang.org/x/sync/"}, nil},
	{"injector/", nil, nil},
	{"localmesh", nil, nil}, {"cmd/", nil, nil}, {"integration/", nil, nil}, {"internal/", nil, nil},
}

// never holds for every non-test file: from a prefix, to a prefix.
var never = [][2]string{
	{"filters/", "controlplane/"}, {"filters/", "localmesh"}, {"controlplane/", "injector/"},
	{"controlplane/", "localmesh"}, {"controlplane/", "cmd/"}, {"filters/", "cmd/"}, {"localmesh", "cmd/"}, {"injector/", "cmd/"},
}

func TestImports(t *testing.T) {
	eachFile(t, func(path, dir string, f *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, spec := range f.Imports {
			imp := strings.Trim(spec.Path.Value, `"`)
			for _, n := range never {
				if strings.HasPrefix(dir+"/", n[0]) && strings.HasPrefix(imp, module+n[1]) {
					t.Errorf("%s: %s must never import %s", path, n[0], n[1])
				}
			}
			checkRule(t, path, dir, imp)
		}
	})
}

func checkRule(t *testing.T, path, dir, imp string) {
	for _, r := range rules {
		if !strings.HasPrefix(dir+"/", r.prefix) {
			continue
		}
		if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") { // standard library
			for _, x := range r.refuse {
				if imp == x {
					t.Errorf("%s: %s may not import %q: policies do no I/O", path, r.prefix, imp)
				}
			}
			return
		}
		if r.allow == nil {
			return
		}
		own := strings.TrimPrefix(imp, module)
		for _, a := range r.allow {
			if strings.HasPrefix(own+"/", strings.TrimSuffix(a, "/")+"/") || strings.HasPrefix(own, a) {
				return
			}
		}
		t.Errorf("%s: %s may not import %q; the table in docs/architecture.md says what it may", path, r.prefix, imp)
		return
	}
}

// TestPoliciesReadNoClock: time and randomness reach a policy through the Exchange only.
func TestPoliciesReadNoClock(t *testing.T) {
	eachFile(t, func(path, dir string, f *ast.File) {
		if strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(dir, "filters/") ||
			strings.HasPrefix(dir, "filters/host") || strings.HasPrefix(dir, "filters/cmd") || strings.HasPrefix(dir, "filters/filtertest") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				switch sel.Sel.Name {
				case "Now", "Sleep", "After", "AfterFunc", "NewTimer", "Tick", "Since", "Until":
					t.Errorf("%s: time.%s in a policy; use Exchange.Now or a Verdict", path, sel.Sel.Name)
				}
			}
			return true
		})
	})
}

// TestNoInit: registration is a slice, not a side effect of an import. The c-shared mains must register in init.
func TestNoInit(t *testing.T) {
	eachFile(t, func(path, dir string, f *ast.File) {
		if strings.HasPrefix(dir, "filters/cmd") || strings.HasPrefix(dir, "wasm/cmd") {
			return
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init outside a c-shared main", path)
			}
		}
	})
}

// TestSizes: a file of more than 500 lines (800 for tests) or a function of more than 80 wants cutting.
func TestSizes(t *testing.T) {
	set := token.NewFileSet()
	walk(t, func(path string) {
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		limit := 500
		if strings.HasSuffix(path, "_test.go") {
			limit = 800
		}
		if n := set.Position(f.End()).Line; n > limit {
			t.Errorf("%s: %d lines, at most %d: cut it where the ideas part", path, n, limit)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || strings.HasSuffix(path, "_test.go") {
				continue
			}
			if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line; n > 80 {
				t.Errorf("%s: func %s has %d lines, at most 80", path, fn.Name.Name, n)
			}
		}
	})
}

func eachFile(t *testing.T, fn func(path, dir string, f *ast.File)) {
	t.Helper()
	set := token.NewFileSet()
	walk(t, func(path string) {
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		fn(rel, filepath.ToSlash(filepath.Dir(rel)), f)
	})
}

const root = "../.."

func walk(t *testing.T, fn func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "build" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			fn(path)
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
