package analyze_test

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/analyze"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

const page = "../../docs/diagnostics.md"

// outside are codes that no YAML brings about, each with an example and the file of the test that does.
func outside() map[string]struct {
	severity, example, fix, test string
} {
	type o = struct{ severity, example, fix, test string }
	return map[string]o{
		"MZ0006": {"Error", "larger than 64 MiB", "divide the file", "../istio/decode_test.go"},
		"MZ0007": {"Error", "cannot be read: permission denied", "see to the file", "../source/dir/dir_test.go"},
		"MZ0401": {"Warning", "kept as of 2026-01-31T12:00:00Z: the previous version stays in force", "mend what the other diagnostic of the object names", "../source/dir/dir_test.go"},
		"MZ0005": {"Error", "a kind that Istio removed, with what it becomes or what to write", "run mizzen convert, or write what the message names", "../istio/testdata/decode/kinds.txtar"},
		"MZ0610": {"Error", "the module of WasmPlugin a cannot be fetched: GET http://modules.example/a.wasm answers 404; it is tried again", "put the module there, or mend url", "../../integration/extend/plugin_test.go"},
		"MZ0601": {"Error", "proxy a-0.default: Envoy rejected cluster \"outbound|80||a.default.svc.cluster.local\", the last good one stays: no such thing", "see what Envoy says of the object that is named", "../server/server_test.go"},
		"MZ0602": {"Warning", "proxy a-0.default: did not acknowledge CDS within 10s; updates go on without it", "see whether the proxy runs and reaches the control plane", "../server/server_test.go"},
		"MZ0603": {"Warning", "proxy a-0.default: cannot load the dynamic module, so the policies are in force there as far as Envoy's own filters go: not found", "start Envoy with the module's folder in ENVOY_DYNAMIC_MODULES_SEARCH_PATH", "../server/server_test.go"},
		"MZ0604": {"Error", "proxy a-0.default: its configuration could not be built", "report it: it is a mistake of Mizzen's", "../server/server_test.go"},
		"MZ0607": {"Error", "proxy a-0.default: Envoy rejected listener \"10.0.0.1_80\" as this object makes it, and has nothing older: the proxy goes without the object until it changes: no such thing", "mend what Envoy complains of", "../server/quarantine_test.go"},
	}
}

// declared are the codes of all files codes.go, with their meanings, by code, and the names of their constants.
func declared(t *testing.T) (meanings, names map[string]string) {
	t.Helper()
	meanings, names = map[string]string{}, map[string]string{}
	files, err := filepath.Glob("../*/codes.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no codes.go: %v", err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(\w+)\s+= "(\w+)"\s+// (.*)`).FindAllStringSubmatch(string(source), -1) {
			if meanings[m[2]] != "" {
				t.Errorf("%s: code %s has two meanings", file, m[2])
			}
			meanings[m[2]], names[m[2]] = m[3], m[1]
		}
	}
	return meanings, names
}

// TestEveryCodeIsDeclared: no code stands in the program that no codes.go explains, or that istioctl uses for something else.
func TestEveryCodeIsDeclared(t *testing.T) {
	meanings, _ := declared(t)
	literal := regexp.MustCompile(`"((?:IST|MZ)[0-9]{4})"`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "analyze/istioctl.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range literal.FindAllStringSubmatch(string(source), -1) {
			if meanings[m[1]] == "" {
				t.Errorf("%s: %s is not in a codes.go with a comment that says what it means", path, m[1])
			}
			if filepath.Base(path) != "codes.go" {
				t.Errorf("%s: %s is written out; use its constant", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]analyze.Istioctl{}
	for _, c := range analyze.IstioctlCodes() {
		known[c.Code] = c
		if has := meanings[c.Code] != ""; has == (c.Absent != "") {
			t.Errorf("%s %s: declared %v, absent because %q", c.Code, c.Name, has, c.Absent)
		}
	}
	for code := range meanings {
		if _, ok := known[code]; strings.HasPrefix(code, "IST") && !ok {
			t.Errorf("%s is no code of istioctl's", code)
		}
	}
}

// printed are examples of every code from the corpora: of each code, all diagnostics.
func printed(t *testing.T) map[string][]istio.Diagnostic {
	t.Helper()
	out := map[string][]istio.Diagnostic{}
	for _, dir := range []string{corpus, "../testdata/compile", "../istio/testdata/decode"} {
		for _, c := range golden.Load(t, dir) {
			w, ds := all(c)
			for _, h := range []mesh.FilterHost{mesh.HostNative, mesh.HostWasm, mesh.HostGolang} {
				ds = append(ds, run.HostFindings(w, h)...)
			}
			for _, d := range ds {
				d.Position = istio.Position{}
				out[d.Code] = append(out[d.Code], d)
			}
		}
	}
	return out
}

// TestEveryCodeIsPrinted: every code that is declared has a case of a corpus, or a test, that brings it about; and none is worse than
// istioctl has it.
func TestEveryCodeIsPrinted(t *testing.T) {
	meanings, names := declared(t)
	seen := printed(t)
	for code := range meanings {
		o, excused := outside()[code]
		switch {
		case excused:
			source, err := os.ReadFile(o.test)
			if err != nil {
				t.Errorf("%s: %v", code, err)
			} else if !strings.Contains(string(source), code) && !strings.Contains(string(source), names[code]) {
				t.Errorf("%s: %s does not look for it", code, o.test)
			}
		case len(seen[code]) == 0:
			t.Errorf("%s (%s): no case of a corpus prints it", code, meanings[code])
		}
	}
	for _, c := range analyze.IstioctlCodes() {
		for _, d := range seen[c.Code] {
			if d.Severity > c.Severity {
				t.Errorf("%s is %s to istioctl, and here: %s", c.Code, c.Severity, d)
			}
		}
	}
}

// TestPage holds docs/diagnostics.md, and the list that the program carries, to the codes; `go test -update` writes them. An example on
// the page stays as long as some case prints it.
func TestPage(t *testing.T) {
	if t.Failed() {
		return
	}
	old, _ := os.ReadFile(page)
	list, want := write(t, string(old))
	for path, text := range map[string]string{page: want, "codes.txt": list} {
		got, err := os.ReadFile(path)
		if err == nil && string(got) == text {
			continue
		}
		if flag.Lookup("update").Value.String() != "true" {
			t.Errorf("%s is stale: run `go test ./controlplane/analyze -update`", path)
		} else if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, old string) (list, text string) {
	meanings, _ := declared(t)
	seen := printed(t)
	names := map[string]string{}
	for _, c := range analyze.IstioctlCodes() {
		names[c.Code] = c.Name
	}
	var l, b strings.Builder
	b.WriteString(`# Diagnostics

This page is generated from the constants in controlplane/*/codes.go and from what the test corpora print (` + "`go test ./controlplane/analyze -update`" + `);
a test fails when a code is missing from it or when no case prints one. Codes that begin with IST mean what they mean to istioctl analyze.

` + "`mizzen validate`" + ` tells what is wrong with single objects, ` + "`mizzen analyze`" + ` also how they fit together; a running mesh shows both on its page.
A line is ` + "`Error [IST0101] (VirtualService default/a) file.yaml:12:5: spec.http[0]...: message; what to write instead`" + `.
An object with an error is left out, or the part that is wrong, and changes nothing for the others. Annotation
` + "`galley.istio.io/analyze-suppress: \"IST0118,MZ0301\"`" + ` (or ` + "`*`" + `) on an object keeps analyze from telling these of it.
`)
	for _, code := range slices.Sorted(maps.Keys(meanings)) {
		severity, example, fix := about(code, seen[code], old)
		fmt.Fprintf(&l, "%s\t%s\t%s\t%s\n", code, strings.Join(severity, " "), names[code], meanings[code])
		fmt.Fprintf(&b, "\n## %s\n\n%s: %s.\n\n    %s\n", strings.TrimSpace(code+" "+names[code]), strings.Join(severity, " or "), meanings[code], example)
		if fix != "" {
			fmt.Fprintf(&b, "\nInstead: %s.\n", strings.TrimSuffix(fix, "."))
		}
	}
	b.WriteString("\n## Codes of istioctl that Mizzen does not have\n\n| code | name | why |\n|---|---|---|\n")
	for _, c := range analyze.IstioctlCodes() {
		if c.Absent != "" {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Code, c.Name, c.Absent)
		}
	}
	return l.String(), b.String()
}

// about is what the page says of a code: what it said, if that is still so. A severity that it names stays.
func about(code string, seen []istio.Diagnostic, old string) (severity []string, example, fix string) {
	if o, ok := outside()[code]; ok {
		return []string{o.severity}, fmt.Sprintf("%s [%s] %s", o.severity, code, o.example), o.fix
	}
	said := regexp.MustCompile(`(?s)\n## ` + code + `[^\n]*\n\n([^:\n]*):`).FindStringSubmatch(old)
	for _, s := range []istio.Severity{istio.Error, istio.Warning, istio.Info} {
		if said != nil && strings.Contains(said[1], s.String()) || slices.ContainsFunc(seen, func(d istio.Diagnostic) bool { return d.Severity == s }) {
			severity = append(severity, s.String())
		}
	}
	best := -1
	for i, d := range seen {
		line := strings.TrimSuffix(d.String(), "; "+d.Fix)
		if strings.Contains(old, "\n    "+line+"\n") {
			return severity, line, d.Fix
		}
		short := best >= 0 && len(d.Message) < len(seen[best].Message)
		if best < 0 || d.Fix != "" && (seen[best].Fix == "" || short) {
			best = i
		}
	}
	if best < 0 {
		return []string{"Error"}, code, ""
	}
	return severity, strings.TrimSuffix(seen[best].String(), "; "+seen[best].Fix), seen[best].Fix
}
