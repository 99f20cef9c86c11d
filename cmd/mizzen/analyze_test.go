package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// findings are some in two namespaces: IST0118 (Info) and IST0174 (Warning) in a and b.
const findings = `apiVersion: v1
kind: Service
metadata: {name: x, namespace: NS}
spec: {ports: [{port: 80, name: web}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: x, namespace: NS}
spec: {host: nobody}
---
`

// TestAnalyzeFlags: what is left of the findings of two namespaces, as "CODE NAMESPACE" in order, and the exit status.
func TestAnalyzeFlags(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("in/a.yaml", strings.ReplaceAll(findings, "NS", "a"))
	put("in/below/b.yaml", strings.ReplaceAll(findings, "NS", "b"))
	put("suppressed.yaml", strings.ReplaceAll(strings.ReplaceAll(findings, "namespace: NS", `annotations: {galley.istio.io/analyze-suppress: "IST0118,IST0174"}`), "NS", ""))
	put("none.yaml", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec: {host: nobody}\n")
	put("unknown.yaml", "hello: world\n---\napiVersion: networking.istio.io/v1\nkind: VirtualServic\nmetadata: {name: x}\n")
	put("mesh.yaml", "rootNamespace: a\nacessLogFile: /dev/stdout\n")
	in := filepath.Join(root, "in")
	for _, x := range []struct {
		args   string
		status int
		want   string
	}{
		{in, 0, "IST0118 a, IST0174 a, IST0118 b, IST0174 b"},
		{in + " -A", 0, "IST0118 a, IST0174 a, IST0118 b, IST0174 b"},
		{in + " -n b", 0, "IST0118 b, IST0174 b"},
		{in + " --recursive=false", 0, "IST0118 a, IST0174 a"},
		{in + " --output-threshold Warning", 0, "IST0174 a, IST0174 b"},
		{in + " --failure-threshold warning", 79, "IST0118 a, IST0174 a, IST0118 b, IST0174 b"},
		{in + " --output-threshold Error --failure-threshold Info", 79, ""},
		{in + " -S IST0118=Service_x.a", 0, "IST0174 a, IST0118 b, IST0174 b"},
		{in + " -S IST0118=Service_*.a -S IST0174=DestinationRule_b/x", 0, "IST0174 a, IST0118 b"},
		{in + " -S IST0118=Service_x -S *=Destination*", 0, ""},
		{in + " -S IST0174=Service_x", 0, "IST0118 a, IST0174 a, IST0118 b, IST0174 b"},
		{filepath.Join(root, "suppressed.yaml"), 0, ""},
		{filepath.Join(root, "none.yaml") + " -n c", 0, "IST0174 c"},
		{filepath.Join(root, "unknown.yaml"), 79, "MZ0003 , MZ0004 "},
		{filepath.Join(root, "unknown.yaml") + " --ignore-unknown", 0, ""},
		{in + " -n a --meshConfigFile " + filepath.Join(root, "mesh.yaml"), 0, "IST0118 a, IST0174 a"},
		{in + " -A --meshConfigFile " + filepath.Join(root, "mesh.yaml"), 0, "IST0118 a, IST0174 a, IST0118 b, IST0174 b, MZ0203 istio-system"},
	} {
		args := append([]string{"analyze", "-o", "json"}, strings.Fields(x.args)...)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "_", " ")
		}
		status, out, stderr := mizzen(t, "", args...)
		var list []struct {
			Code, Level, Origin, Reference string
			Object                         struct{ Namespace string }
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil || stderr != "" {
			t.Errorf("analyze %s: %v: %s%s", x.args, err, out, stderr)
			continue
		}
		var got []string
		for _, d := range list {
			got = append(got, d.Code+" "+d.Object.Namespace)
			if d.Level == "" || d.Reference == "" || d.Origin == "" && d.Object.Namespace != "" {
				t.Errorf("analyze %s: %+v lacks what istioctl writes", x.args, d)
			}
		}
		if strings.Join(got, ", ") != x.want || status != x.status {
			t.Errorf("analyze %s: exit %d, %q; want %d, %q", x.args, status, strings.Join(got, ", "), x.status, x.want)
		}
	}
}

func TestAnalyzeListsCodes(t *testing.T) {
	status, out, _ := mizzen(t, "", "analyze", "-L")
	if status != 0 || !strings.Contains(out, "* IST0101 ReferencedResourceNotFound:\n    Error") || !strings.Contains(out, "* MZ0302:\n") {
		t.Errorf("%d %s", status, out)
	}
}

// TestAnalyzeTheMesh: without files, what runs; with files, as if they were applied.
func TestAnalyzeTheMesh(t *testing.T) {
	fakeMesh(t)
	status, out, stderr := cli(t, "", "analyze")
	if status != 0 || out != "✔ No validation issues found when analyzing namespace: default.\n" {
		t.Errorf("exit %d: %s%s", status, out, stderr)
	}
	if _, out, _ = cli(t, "", "analyze", "-A"); out != "✔ No validation issues found when analyzing all namespaces.\n" {
		t.Errorf("-A: %s", out)
	}
	change := file(t, "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: second}\nspec: {hosts: [catalog], http: [{route: [{destination: {host: catalog}}]}]}\n")
	if status, out, _ = cli(t, "", "analyze", "-f", change); strings.Contains(out, "IST0109") || !strings.Contains(out, "IST0101") {
		t.Errorf("the file alone: exit %d: %s", status, out)
	}
	if status, out, _ = cli(t, "", "analyze", "-k", "-f", change); status != exitFindings || !strings.Contains(out, "IST0109") || strings.Contains(out, "IST0101") {
		t.Errorf("the file with the mesh: exit %d: %s", status, out)
	}
}
