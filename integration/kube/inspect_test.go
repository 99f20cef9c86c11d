package kube

import (
	"bytes"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/kubetest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// printed is what a command says.
type printed struct {
	out, err string
	code     int
}

// mizzen runs the binary with a kubeconfig.
func mizzen(t *testing.T, kubeconfig, input string, args ...string) printed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), meshtest.Binary(t), append(args, "--kubeconfig", kubeconfig)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err := cmd.Run()
	exit := (&exec.ExitError{})
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("mizzen %v: %v", args, err)
	}
	return printed{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

const inspected = `
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviws, port: {number: 9080}}}]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {app: reviews}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example], tls: {mode: SIMPLE, credentialName: shop-cert}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: admin}
spec:
  replicas: 0
  selector: {matchLabels: {app: admin}}
  template: {metadata: {labels: {app: admin}}, spec: {containers: [{name: app, image: app, securityContext: {runAsUser: 1337}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-0, labels: {app: reviews}}
spec: {containers: [{name: app, image: app, ports: [{containerPort: 9080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ratings-0, labels: {app: ratings}}
spec: {containers: [{name: app, image: app, ports: [{containerPort: 9080}]}, {name: istio-proxy, image: proxy}]}
`

// TestInspect: analyze tells of a cluster what its objects, read by the API server, come to; the commands that ask proxies say what
// is wrong where there is none. That proxies are asked, integration/cluster shows: without a kubelet there are none.
func TestInspect(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	ns := c.Namespace(t, "inspect", nil)
	c.Kubectl(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default}", "apply", "-n", ns, "-f", "-")
	c.Kubectl(t, inspected, "apply", "-n", ns, "-f", "-")
	t.Run("analyze", func(t *testing.T) { analyzed(t, c, ns) })
	t.Run("mistakes", func(t *testing.T) { mistaken(t, c, ns) })
	t.Run("check-inject", func(t *testing.T) { checked(t, c) })
}

func analyzed(t *testing.T, c *kubetest.Cluster, ns string) {
	all := mizzen(t, c.Kubeconfig(), "", "analyze", "-n", ns)
	for _, want := range []string{
		`Error \[IST0101\] \(VirtualService ` + ns + `/reviews\) spec.http\[0\].*reviws`,
		`Error \[IST0101\] \(Gateway ` + ns + `/edge\) .*there is no Secret shop-cert`,
		`Warning \[IST0144\] \(Deployment ` + ns + `/admin\) `,
	} {
		if all.code != 79 || !regexp.MustCompile(want).MatchString(all.out) {
			t.Errorf("analyze: %d, want a line like %s\n%s%s", all.code, want, all.out, all.err)
		}
	}
	if !strings.Contains(all.err, "what proxies reject is not told: find the control plane: none is running in namespace istio-system") {
		t.Errorf("analyze does not say what it cannot know:\n%s", all.err)
	}
	// A change is looked at as if it were applied.
	fixed := "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews, namespace: " + ns + "}\n" +
		"spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, port: {number: 9080}}}]}]}\n"
	if got := mizzen(t, c.Kubeconfig(), fixed, "analyze", "-n", ns, "-f", "-"); strings.Contains(got.out, "reviws") || !strings.Contains(got.out, "no Secret shop-cert") {
		t.Errorf("analyze -f of a change that mends:\n%s%s", got.out, got.err)
	}
	// Who may not read Secrets is not told that they are missing.
	c.Kubectl(t, "", "create", "clusterrole", ns, "--verb=get,list", "--resource=services,pods,namespaces,nodes,endpointslices.discovery.k8s.io,"+
		"customresourcedefinitions.apiextensions.k8s.io,gateways.networking.istio.io,virtualservices.networking.istio.io")
	c.Kubectl(t, "", "create", "clusterrolebinding", ns, "--clusterrole="+ns, "--user=reader-"+ns)
	reader := c.WriteKubeconfig(t, c.ConfigAs(t, "reader-"+ns))
	got := mizzen(t, reader, "", "analyze", "-n", ns)
	if strings.Contains(got.out, "no Secret") || !strings.Contains(got.out, "reviws") || !strings.Contains(got.err, `list Secret `+ns+`/shop-cert: secrets "shop-cert" is forbidden`) {
		t.Errorf("analyze by a user who may not read Secrets: %d\n%s%s", got.code, got.out, got.err)
	}
}

func mistaken(t *testing.T, c *kubetest.Cluster, ns string) {
	nowhere := c.Config(t)
	nowhere.Host = "https://127.0.0.1:1"
	for _, x := range []struct {
		kubeconfig, args, want string
		code                   int
	}{
		{c.Kubeconfig(), "proxy-status", "error: find the control plane: none is running in namespace istio-system; `mizzen install` installs one, -i NAMESPACE names another", 1},
		{c.Kubeconfig(), "proxy-config routes reviews -n " + ns, "error: find proxy: pod reviews-0." + ns + " has no container istio-proxy; one that has is ratings-0." + ns, 1},
		{c.Kubeconfig(), "proxy-config routes ratings-0." + ns, "error: find proxy: pod ratings-0." + ns + " is not running, it is Pending", 1},
		{c.Kubeconfig(), "proxy-config routes revews-0 -n " + ns, `error: find pod: no pod of namespace ` + ns + ` is named "revews-0"; did you mean reviews-0.` + ns + "?", 1},
		{c.Kubeconfig(), "proxy-config routes reviews-0." + ns + "x", `error: find pod "reviews-0": there is no namespace ` + ns + "x; did you mean reviews-0." + ns + "?", 1},
		{c.Kubeconfig(), "proxy-config routes deploy/admin -n " + ns, "error: find a pod of deployment admin." + ns + ": none is running", 1},
		{c.Kubeconfig(), "proxy-config routes", "error: read arguments: name a WORKLOAD", 2},
		{c.Kubeconfig(), "get vs", "error: mizzen get: works with the mesh of this machine only; in a cluster write: kubectl --kubeconfig " + c.Kubeconfig() + " get vs", 2},
		{c.WriteKubeconfig(t, nowhere), "proxy-status", "error: reach the cluster at https://127.0.0.1:1: connect: connection refused", 1},
		{c.Kubeconfig(), "proxy-status --context prod", `error: read kubeconfig: context "prod" does not exist`, 1},
	} {
		if got := mizzen(t, x.kubeconfig, "", strings.Fields(x.args)...); got.code != x.code || !strings.HasPrefix(got.err, x.want) || got.out != "" {
			t.Errorf("mizzen %s: %d, want %d and\n%s\ngot\n%s%s", x.args, got.code, x.code, x.want, got.out, got.err)
		}
	}
}

// checked asks about pods an injector with the settings and webhooks of the chart.
func checked(t *testing.T, c *kubetest.Cluster) {
	in, out := c.Namespace(t, "check", map[string]string{"istio-injection": "enabled"}), c.Namespace(t, "check", nil)
	system := c.Namespace(t, "system", nil)
	hook := strings.ReplaceAll(`
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: SYSTEM}
data: {config: "", values: ""}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: SYSTEM}
webhooks:
- name: namespace.sidecar-injector.mizzen.dev
  clientConfig: {service: {name: mizzen-injector, namespace: SYSTEM, path: /inject}}
  sideEffects: None
  admissionReviewVersions: [v1]
  failurePolicy: Ignore
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  namespaceSelector: {matchLabels: {istio-injection: enabled, kubernetes.io/metadata.name: IN}}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}]}
`, "SYSTEM", system)
	hook = strings.ReplaceAll(hook, "IN}}", in+"}}")
	c.Kubectl(t, hook, "apply", "-f", "-")
	c.Kubectl(t, strings.Replace(hook, "{name: "+system+"}", "{name: "+system+"-tag}", 1), "apply", "-f", "-")
	pod := func(meta, spec string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {metadata: {" + meta + "}, spec: {" + spec + "containers: [{name: app, image: app}]}}}\n"
	}
	for _, x := range []struct{ namespace, manifest, want string }{
		{in, pod("", ""), "✔ +namespace label istio-injection=enabled matches\n" + system + "-tag +default +✘ +" + system + " injects it first"},
		{in, pod(`labels: {sidecar.istio.io/inject: "false"}`, ""), "✘ +it says sidecar.istio.io/inject: false"},
		{in, pod("", "hostNetwork: true, "), "✘ +it is on the host's network"},
		{out, pod("", ""), "✘ +namespace " + out + " has neither label istio-injection nor istio.io/rev"},
	} {
		got := mizzen(t, c.Kubeconfig(), x.manifest, "check-inject", "-f", "-", "-n", x.namespace)
		if line := regexp.MustCompile(`(?m)^WEBHOOK +REVISION +INJECTED +REASON\n(.*\n)*` + system + ` +default +` + x.want + "$"); got.code != 0 || !line.MatchString(got.out) {
			t.Errorf("check-inject in %s: %d, want %s\n%s%s", x.namespace, got.code, x.want, got.out, got.err)
		}
	}
}
