package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

const shop = `apiVersion: v1
kind: Service
metadata: {name: catalog}
spec: {selector: {app: catalog}, ports: [{name: http, port: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog}
spec: {hosts: [catalog], http: [{route: [{destination: {host: catalog}}]}]}
`

// fakeMesh is a mesh without processes: it acknowledges what is applied, and its gateway says "v1" and every fourth time
// that there is no healthy upstream.
func fakeMesh(t *testing.T) *state.State {
	t.Helper()
	root := t.TempDir()
	t.Setenv("MIZZEN_STATE", root)
	user := filepath.Join(root, "user", "shop.yaml")
	for _, d := range []string{"user", "applied", "pods"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(user, []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n++; n%4 == 0 {
			w.WriteHeader(503)
			_, _ = io.WriteString(w, "no healthy upstream")
			return
		}
		_, _ = io.WriteString(w, "v1\n")
	}))
	t.Cleanup(gateway.Close)
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }))
	t.Cleanup(control.Close)
	s := &state.State{
		Dir: root, Files: []string{filepath.Dir(user)}, Namespace: "default", Started: time.Now(),
		ControlPlane: state.ControlPlane{HTTP: control.URL},
		Gateways:     []state.Gateway{{Name: "istio-ingressgateway", HTTP: gateway.URL}},
	}
	if err := s.Write(filepath.Join(root, state.File)); err != nil {
		t.Fatal(err)
	}
	acknowledge(t, *s)
	return s
}

// acknowledge does what the supervisor does of the overlay: it reads it and notes its revision.
func acknowledge(t *testing.T, s state.State) {
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			set, _, err := dir.Load([]string{state.AppliedDir(s.Dir)})
			if rev := overlay.RevisionOf(set); err == nil && rev != s.Revision {
				s.Revision = rev
				_ = s.Write(filepath.Join(s.Dir, state.File))
			}
		}
	}()
}

// cli runs mizzen and returns its exit status and what it wrote.
func cli(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	status = execute(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// file writes YAML to apply: standard input is the process's own, which a test cannot replace.
func file(t *testing.T, yaml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExitStatusAndMessages(t *testing.T) {
	t.Setenv("MIZZEN_STATE", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	bad := file(t, "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec: {hostss: [a]}\n")
	for _, c := range []struct {
		args   string
		status int
		stderr string
	}{
		{"version", 0, ""},
		{"aply", 2, "error: read arguments: unknown command \"aply\"; did you mean apply?"},
		{"up", 2, "error: read arguments: no -f PATH was given"},
		{"up --isolation vm -f x", 2, "error: read --isolation: \"vm\" is neither loopback nor netns"},
		{"up --nope", 2, "error: read arguments: unknown flag: --nope; see mizzen up -h"},
		{"call / /", 2, "error: read arguments: mizzen call takes no more arguments than /, and \"/\" is one more; write mizzen call [--from WORKLOAD] [-n COUNT] [URL] [flags]"},
		{"kube-inject shop.yaml", 2, "error: read arguments: mizzen kube-inject takes files by -f only, and \"shop.yaml\" stands without; write mizzen kube-inject -f shop.yaml"},
		{"kube-inject -f shop.yaml -", 2, "error: read arguments: mizzen kube-inject takes files by -f only, and \"-\" stands without; write mizzen kube-inject -f -"},
		{"kube-inject shop", 2, "error: read arguments: mizzen kube-inject takes no argument, and \"shop\" is one; write mizzen kube-inject -f PATH [flags]"},
		{"install values.yaml", 2, "error: read arguments: mizzen install takes files by -f only, and \"values.yaml\" stands without; write mizzen install -f values.yaml"},
		{"install demo", 2, "error: read arguments: mizzen install takes no argument, and \"demo\" is one; write mizzen install [--profile PROFILE]"},
		{"graph ./shop.yaml", 2, "error: read arguments: mizzen graph takes no argument, and \"./shop.yaml\" is one; write mizzen graph [flags]"},
		{"healthcheck", 2, "error: read arguments: mizzen healthcheck accepts 1 arg(s), received 0; write mizzen healthcheck URL"},
		{"proxy gateway", 2, "error: read arguments: mizzen proxy takes sidecar or router, not \"gateway\"; write mizzen proxy sidecar|router [flags]"},
		{"proxy-config shop", 2, "error: read arguments: mizzen proxy-config has no command \"shop\"; write mizzen proxy-config all|bootstrap|"},
		{"ca tokens", 2, "error: read arguments: mizzen ca has no command \"tokens\"; did you mean token?\n"},
		{"call -H nonsense /", 2, "error: read -H: \"nonsense\" is not 'name: value'"},
		{"call -o xml /", 2, "error: read -o: \"xml\" is not one of table, json, yaml"},
		{"call /", 1, "error: find mesh: none is running; start one with `mizzen up -f PATH`"},
		{"get vs", 1, "error: find mesh: "},
		{"delete", 2, "error: read arguments: give either -f PATH or KIND NAME"},
		{"apply", 2, "error: read arguments: no -f PATH was given"},
		{"analyze -f " + bad, 79, ""},
	} {
		status, _, stderr := cli(t, "", strings.Fields(c.args)...)
		if status != c.status || !strings.HasPrefix(stderr, c.stderr) {
			t.Errorf("mizzen %s: exit %d, stderr %q; want %d, %q", c.args, status, stderr, c.status, c.stderr)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, c := range newRootCommand().Commands() {
		if c.Name() != "help" && c.Name() != "completion" && c.Example == "" {
			t.Errorf("mizzen %s -h shows no example", c.Name())
		}
	}
}

func TestApplyGetDelete(t *testing.T) {
	fakeMesh(t)
	rule := "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: catalog}\nspec: {host: catalog}\n"
	status, out, stderr := cli(t, "", "apply", "-f", file(t, rule))
	if status != 0 || out != "destinationrule.networking.istio.io/catalog created\n" || stderr != "" {
		t.Fatalf("apply: %d %q %q", status, out, stderr)
	}
	status, out, _ = cli(t, "", "get", "vs,dr")
	out = regexp.MustCompile(`(?m) [0-9]s$`).ReplaceAllString(out, " 0s") // some seconds may have passed
	want := `NAME                                         GATEWAYS   HOSTS         AGE
virtualservice.networking.istio.io/catalog              ["catalog"]   0s

NAME                                          HOST      AGE
destinationrule.networking.istio.io/catalog   catalog   0s
`
	if status != 0 || out != want {
		t.Errorf("get: %d\n%s\nwant\n%s", status, out, want)
	}
	if status, out, _ = cli(t, "", "delete", "vs", "catalog"); status != 0 || out != "virtualservice.networking.istio.io \"catalog\" deleted\n" {
		t.Errorf("delete: %d %q", status, out)
	}
	if status, out, stderr = cli(t, "", "get", "vs"); status != 0 || out != "" || stderr != "No resources found in namespace default.\n" {
		t.Errorf("get what was deleted: %d %q %q", status, out, stderr)
	}
	if status, _, stderr = cli(t, "", "delete", "vs", "catalog"); status != 1 || !strings.Contains(stderr, "not found") {
		t.Errorf("delete again: %d %q", status, stderr)
	}
	if status, _, stderr = cli(t, "", "delete", "--ignore-not-found", "vs", "catalog"); status != 0 || stderr != "" {
		t.Errorf("delete --ignore-not-found: %d %q", status, stderr)
	}
}

// TestGetTellsWhatItCannotList: an object whose file was broken by an edit is still in force, and no longer readable.
func TestGetTellsWhatItCannotList(t *testing.T) {
	s := fakeMesh(t)
	user := filepath.Join(s.Files[0], "shop.yaml")
	if err := os.WriteFile(user, []byte(strings.Replace(shop, "route:", "rout:", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := cli(t, "", "get", "vs")
	if status != 0 || out != "" || !strings.Contains(stderr, user+":9:34: spec.http[0].rout: unknown field") || !strings.Contains(stderr, "if it was in force before them, it still is.\n") {
		t.Errorf("get vs: %d %q %q", status, out, stderr)
	}
	if _, out, stderr = cli(t, "", "get", "svc"); !strings.Contains(out, "catalog") || stderr != "" {
		t.Errorf("get svc, which is well: %q %q", out, stderr)
	}
}

func TestDeleteIsSilentAboutObsoleteFields(t *testing.T) {
	fakeMesh(t)
	name := file(t, strings.Replace(shop, "{host: catalog}}]", "{host: catalog}}], mirror: {host: catalog}, mirrorPercent: 5", 1))
	if status, _, stderr := cli(t, "", "apply", "-f", name); status != 0 || !strings.Contains(stderr, "mirrorPercent is obsolete") {
		t.Fatalf("apply: %d %q", status, stderr)
	}
	if status, _, stderr := cli(t, "", "delete", "-f", name); status != 0 || stderr != "" {
		t.Errorf("delete: %d %q", status, stderr)
	}
}

func TestApplyRefusesMistakesWhole(t *testing.T) {
	s := fakeMesh(t)
	two := "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: catalog}\nspec: {host: catalog}\n---\n" +
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: catalog}\nspec: {hosts: [catalog], htttp: []}\n"
	name := file(t, two)
	status, out, stderr := cli(t, "", "apply", "-f", name)
	if status != 1 || out != "" || !strings.Contains(stderr, name+":9:26: spec.htttp: unknown field") || !strings.Contains(stderr, `did you mean "http"?`) ||
		!strings.Contains(stderr, "\nerror: apply: refused for the mistakes above; the last good state stays\n") {
		t.Errorf("apply: %d %q %q", status, out, stderr)
	}
	if entries, _ := os.ReadDir(state.AppliedDir(s.Dir)); len(entries) != 0 {
		t.Errorf("something was applied: %v", entries)
	}
}

func TestApplyWarnsOfAMissingSubset(t *testing.T) {
	fakeMesh(t)
	name := file(t, strings.Replace(shop, "host: catalog}", "host: catalog, subset: v9}", 1))
	status, out, stderr := cli(t, "", "apply", "-f", name)
	if status != 0 || !strings.Contains(out, "virtualservice.networking.istio.io/catalog configured\n") || !strings.Contains(stderr, name+":9:") || !strings.Contains(stderr, "v9") {
		t.Errorf("apply: %d %q %q: it is taken, for only that route answers 503, and told of", status, out, stderr)
	}
}

func TestCall(t *testing.T) {
	fakeMesh(t)
	if status, out, stderr := cli(t, "", "call", "/"); status != 0 || out != "v1\n" {
		t.Errorf("call: %d %q %q", status, out, stderr)
	}
	status, out, _ := cli(t, "", "call", "-n", "40", "/")
	for _, want := range []string{"v1       30      75.0%", "503    UH     10      25.0%   no healthy upstream", "40 requests, 10 failed, p50 "} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("call -n: %d, no %q in\n%s", status, want, out)
		}
	}
	if status, out, _ = cli(t, "", "call", "-n", "4", "--fail", "-o", "json", "/"); status != 1 || !strings.Contains(out, `"flag": "UH"`) {
		t.Errorf("call --fail: %d %s", status, out)
	}
}
