package cni_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/cni"
	"github.com/mizzen-mesh/mizzen/injector/command"
	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestMain is mizzen itself, where a test runs this program so.
func TestMain(m *testing.M) {
	if os.Getenv("MIZZEN_TEST_RUN") == "" {
		os.Exit(m.Run())
	}
	root := &cobra.Command{Use: "mizzen"}
	cmdline.Prepare(root, command.All()...)
	os.Exit(cmdline.Execute(context.Background(), root, command.Args(os.Args[0], os.Args[1:]), os.Stdin, os.Stdout, os.Stderr))
}

// injected is a case of the injector's corpus, with the node intercepting or the pod itself.
func injected(t *testing.T, c *golden.Case, node bool) corev1.PodTemplateSpec {
	t.Helper()
	s := corpus.Read(t, c)
	s.Policy.Values.Pilot.CNI.Enabled = node
	out, _, err := s.Inject()
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template
}

// call runs the plugin as a container runtime does, and returns what it prints and whether it succeeds.
func call(t *testing.T, what string, pod netnstest.Pod, annotations map[string]string, more map[string]any) (map[string]any, bool) {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), cni.Name)
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, plugin)
	}
	if err != nil {
		t.Fatal(err)
	}
	conf := map[string]any{
		"cniVersion": "1.0.0", "name": "net", "type": cni.Name, "excludeNamespaces": []string{"kube-system"},
		"prevResult": map[string]any{"cniVersion": "1.0.0", "ips": []any{map[string]any{"address": pod.IP + "/24"}}, "dns": map[string]any{}},
	}
	if annotations != nil {
		conf["runtimeConfig"] = map[string]any{"io.kubernetes.cri.pod-annotations": annotations}
	}
	args := "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=hello-1;K8S_POD_UID=u-1;K8S_POD_INFRA_CONTAINER_ID=x"
	path := os.Getenv("PATH")
	for k, v := range more {
		switch {
		case k == "CNI_ARGS":
			args = v.(string)
		case k == "PATH":
			path = v.(string)
		case v == nil:
			delete(conf, k)
		default:
			conf[k] = v
		}
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(plugin)
	cmd.Env = []string{
		"MIZZEN_TEST_RUN=1", "PATH=" + path, "CNI_COMMAND=" + what, "CNI_CONTAINERID=c1", "CNI_NETNS=/var/run/netns/" + pod.NS,
		"CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin", "CNI_ARGS=" + args,
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	raw, err := cmd.Output()
	var out map[string]any
	if len(raw) > 0 && json.Unmarshal(raw, &out) != nil {
		t.Fatalf("%s: stdout is no JSON: %s\n%s", what, raw, stderr.String())
	}
	return out, err == nil
}

// ruleset is what a backend says of the rules in a pod.
func ruleset(t *testing.T, pod netnstest.Pod, backend string) string {
	t.Helper()
	var b strings.Builder
	dumps := [][]string{{backend + "-save"}, {strings.Replace(backend, "iptables", "ip6tables", 1) + "-save"}}
	if backend == "nft" {
		dumps = [][]string{{"nft", "--stateless", "list", "ruleset"}}
	}
	for _, c := range dumps {
		out, err := pod.Command(t.Context(), 0, c...).Output()
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":PREROUTING") && !strings.HasPrefix(line, ":OUTPUT") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// TestRulesAreIstioInits: in the kernel, by every backend and for either family, the plugin leaves what istio-init of the same pod does.
func TestRulesAreIstioInits(t *testing.T) {
	netnstest.Need(t, "iptables-nft", "iptables-legacy", "nft")
	n := netnstest.New(t)
	var cases []*golden.Case
	for _, c := range golden.Load(t, "../testdata/inject") {
		if slices.Contains([]string{"traffic-all", "traffic-kubevirtinterfaces", "user-proxy-user", "interception-nftables", "mesh-ports", "deployment"}, c.Name) {
			cases = append(cases, c)
		}
	}
	if len(cases) != 6 {
		t.Fatalf("of six cases %d are there", len(cases))
	}
	for i, c := range cases {
		for j, backend := range []string{"iptables-nft", "iptables-legacy", "nft"} {
			t.Run(c.Name+" "+backend, func(t *testing.T) {
				classic, node := injected(t, c, false), injected(t, c, true)
				a := n.Pod(t, fmt.Sprintf("a%d%d", i, j), fmt.Sprintf("10.88.0.%d", 10+i*10+j*2), fmt.Sprintf("fd88::a%d%d", i, j))
				b := n.Pod(t, fmt.Sprintf("b%d%d", i, j), fmt.Sprintf("10.88.0.%d", 11+i*10+j*2), fmt.Sprintf("fd88::b%d%d", i, j))
				initially(t, a, classic, backend)
				var ask struct {
					Args []string          `json:"args"`
					Env  map[string]string `json:"env,omitempty"`
				}
				if err := json.Unmarshal([]byte(node.Annotations["mizzen.dev/interception"]), &ask); err != nil {
					t.Fatal(err)
				}
				ask.Args = append(ask.Args, "--backend", backend)
				raw, err := json.Marshal(ask)
				if err != nil {
					t.Fatal(err)
				}
				node.Annotations["mizzen.dev/interception"] = string(raw)
				if out, ok := call(t, "CHECK", b, node.Annotations, nil); ok || !strings.Contains(fmt.Sprint(out["details"]), "not in force") {
					t.Errorf("CHECK before: %v", out)
				}
				for range 2 {
					if out, ok := call(t, "ADD", b, node.Annotations, nil); !ok || !strings.Contains(fmt.Sprint(out["ips"]), b.IP) {
						t.Fatalf("ADD: %v", out)
					}
				}
				want, got := ruleset(t, a, backend), ruleset(t, b, backend)
				if got != want || !strings.Contains(strings.ToUpper(got), "REDIRECT") {
					t.Errorf("istio-init makes\n%s\nthe plugin\n%s", want, got)
				}
				for _, what := range []string{"CHECK", "DEL"} {
					if out, ok := call(t, what, b, node.Annotations, nil); !ok {
						t.Errorf("%s: %v", what, out)
					}
				}
			})
		}
	}
}

// initially runs the pod's container istio-init.
func initially(t *testing.T, pod netnstest.Pod, template corev1.PodTemplateSpec, backend string) {
	t.Helper()
	at := slices.IndexFunc(template.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "istio-init" })
	if at < 0 {
		t.Fatal("there is no istio-init")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	init := template.Spec.InitContainers[at]
	cmd := pod.Command(t.Context(), 0, append(append([]string{self}, init.Args...), "--backend", backend)...)
	cmd.Env = append(os.Environ(), "MIZZEN_TEST_RUN=1")
	for _, e := range init.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("istio-init: %v\n%s", err, out)
	}
}

// TestWho: pods that are not the node's business are let pass, whatever is wrong; pods that are do not start without rules, and kubectl says why.
func TestWho(t *testing.T) {
	netnstest.Need(t, "iptables")
	if _, err := exec.LookPath("nft"); err != nil {
		envoytest.Missing(t, err)
	}
	const (
		status = `{"initContainers":["mizzen-module","istio-validation"]}`
		ask    = `{"args":["-i","*","-b","*"]}`
	)
	mine := map[string]string{"sidecar.istio.io/status": status, "mizzen.dev/interception": ask}
	wrong := map[string]string{"sidecar.istio.io/status": status, "mizzen.dev/interception": `{"args":["-b","http"]}`}
	server := apiServer(t, map[string]string{"hello-1": ask})
	pod := netnstest.New(t).Pod(t, "who", "10.88.0.9")
	for _, c := range []struct {
		name        string
		annotations map[string]string
		more        map[string]any
		rules       bool
		refused     string
	}{
		{name: "a pod without a sidecar", annotations: map[string]string{"kubernetes.io/config.source": "api"}},
		{name: "a pod that somebody has marked", annotations: map[string]string{"mizzen.dev/interception": ask}},
		{name: "a pod with a container for it", annotations: map[string]string{"sidecar.istio.io/status": `{"initContainers":["istio-init"]}`, "mizzen.dev/interception": ask}},
		{name: "an excluded namespace", annotations: wrong, more: map[string]any{"CNI_ARGS": "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=x"}},
		{name: "no pod at all", more: map[string]any{"CNI_ARGS": ""}},
		{name: "not the first plugin", annotations: mine, more: map[string]any{"prevResult": nil}, refused: "has to follow another plugin"},
		{name: "a wrong annotation", annotations: wrong, refused: `"http" is not a port`},
		{name: "an argument that would print", annotations: map[string]string{"sidecar.istio.io/status": status, "mizzen.dev/interception": `{"args":["-i","*","--dry-run"]}`}, refused: "unknown flag: --dry-run"},
		{name: "another line for iptables", annotations: map[string]string{"sidecar.istio.io/status": status, "mizzen.dev/interception": `{"args":["-c","a\nCOMMIT"]}`}, refused: "is not the name of one"},
		{name: "an annotation that is no JSON", annotations: map[string]string{"sidecar.istio.io/status": status, "mizzen.dev/interception": "yes"}, refused: "read annotation mizzen.dev/interception"},
		{name: "no kubeconfig and no word of the runtime", more: map[string]any{"kubeconfig": "/nonexistent"}, refused: "read kubeconfig"},
		{name: "the API server does not know the pod", more: map[string]any{"kubeconfig": server, "CNI_ARGS": "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=x"}, refused: `answers 404: pods "x" not found`},
		{name: "another pod of that name", more: map[string]any{"kubeconfig": server, "CNI_ARGS": "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=hello-1;K8S_POD_UID=u-0"}, refused: "is another by now"},
		{name: "by the API server's word", more: map[string]any{"kubeconfig": server}, rules: true},
		{name: "by the runtime's word", annotations: mine, more: map[string]any{"kubeconfig": "/nonexistent"}, rules: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out, err := pod.Command(t.Context(), 0, "nft", "flush", "ruleset").CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			out, ok := call(t, "ADD", pod, c.annotations, c.more)
			if ok != (c.refused == "") || !strings.Contains(fmt.Sprintf("%v; %v", out["msg"], out["details"]), c.refused) {
				t.Errorf("the plugin says %v", out)
			}
			if !ok && c.more["prevResult"] == nil && c.more == nil && !strings.Contains(fmt.Sprint(out["msg"]), "the connections of pod shop/hello-1 cannot be intercepted") {
				t.Errorf("it does not name the pod: %v", out)
			}
			if rules := strings.Contains(strings.ToUpper(ruleset(t, pod, "nft")), "ISTIO"); rules != c.rules {
				t.Errorf("rules: %v", rules)
			}
		})
	}
}

// apiServer has pods of namespace shop, injected, and returns a kubeconfig for it.
func apiServer(t *testing.T, pods map[string]string) string {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/shop/pods/")
		ask, ok := pods[name]
		if !ok || r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"kind":"Status","message":%q}`, fmt.Sprintf("pods %q not found", name))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{
			"name": name, "uid": "u-1", "annotations": map[string]string{"sidecar.istio.io/status": `{}`, "mizzen.dev/interception": ask},
		}})
	}))
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	raw, err := cni.Kubeconfig(s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), "secret")
	if err == nil {
		err = os.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestVersions: what the runtime asks for first.
func TestVersions(t *testing.T) {
	netnstest.Need(t)
	pod := netnstest.New(t).Pod(t, "version", "10.88.0.9")
	out, ok := call(t, "VERSION", pod, nil, nil)
	for _, v := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		if !ok || !slices.Contains(out["supportedVersions"].([]any), any(v)) {
			t.Errorf("version %s is not supported: %v", v, out)
		}
	}
	if out, ok := call(t, "STATUS", pod, nil, map[string]any{"cniVersion": "1.1.0", "prevResult": nil}); !ok {
		t.Errorf("STATUS: %v", out)
	}
}
