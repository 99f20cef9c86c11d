package kube

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/installer"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// many are values that render what the profiles do not.
const many = `
networkPolicy: {enabled: true}
services: {ipFamilyPolicy: PreferDualStack}
controlplane: {autoscale: {min: 2}, priorityClassName: system-cluster-critical, serviceAccountAnnotations: {a: b}}
gateways:
  ingress:
    topologySpreadConstraints:
    - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: istio-ingressgateway}}}
    service: {ipFamilyPolicy: PreferDualStack, loadBalancerClass: example.com/lb, allocateLoadBalancerNodePorts: false, internalTrafficPolicy: Cluster}
`

// TestInstall: an API server takes all that the chart has, in every profile; installing again is an upgrade; a revision stands beside;
// and what is purged leaves nothing. No controllers run here, so nothing comes up: integration/cluster has that.
func TestInstall(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{}) // beside nothing else: the installer has limits of its own
	var out bytes.Buffer
	options := func(values map[string]any) installer.Options {
		return installer.Options{Kubeconfig: c.Kubeconfig(), Values: values, Out: &out, Log: slog.New(slog.DiscardHandler)}
	}
	before := everything(t, c)
	// The namespace is there already: without controllers it could not be deleted.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system", Labels: map[string]string{
		"pod-security.kubernetes.io/warn": "restricted",
	}}}
	if _, err := c.Client(t).CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	install := func(o installer.Options) {
		t.Helper()
		if err := installer.Install(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var full map[string]any
	if err := yaml.Unmarshal([]byte(many), &full); err != nil {
		t.Fatal(err)
	}
	install(options(full))
	if got := c.Kubectl(t, "", "get", "svc", "-n", "istio-system", "istio-ingressgateway", "-o", "jsonpath={.spec.loadBalancerClass} {.spec.allocateLoadBalancerNodePorts} {.spec.ipFamilyPolicy}"); got != "example.com/lb false PreferDualStack" {
		t.Errorf("the gateway's Service: %s", got)
	}
	install(options(map[string]any{"profile": "minimal"}))
	if got := c.Kubectl(t, "", "get", "deploy", "-n", "istio-system", "-o", "name"); strings.Contains(got, "gateway") || !strings.Contains(got, "mizzen-injector") {
		t.Errorf("profile minimal in the place of default has deployments:\n%s", got)
	}
	install(options(map[string]any{"profile": "demo"}))
	if got := c.Kubectl(t, "", "get", "deploy", "-n", "istio-system", "-o", "name"); !strings.Contains(got, "istio-egressgateway") {
		t.Errorf("profile demo in the place of minimal has deployments:\n%s", got)
	}
	canary := options(nil)
	canary.Revision = "canary"
	install(canary)
	releases := c.Kubectl(t, "", "get", "secret", "-n", "istio-system", "-l", "owner=helm,status=deployed", "-o", "jsonpath={.items[*].metadata.labels.name}")
	if releases != "mizzen mizzen-canary" && releases != "mizzen-canary mizzen" {
		t.Errorf("Helm's releases: %s", releases)
	}
	if text := out.String(); strings.Contains(text, "PodSecurity") || strings.Contains(strings.ToLower(text), "warning") {
		t.Errorf("the API server warns:\n%s", text)
	}
	if err := installer.Uninstall(t.Context(), options(nil), true); err == nil || !strings.Contains(err.Error(), "mizzen-canary") {
		t.Errorf("purging while a revision is there: %v", err)
	}
	if err := installer.Uninstall(t.Context(), canary, false); err != nil {
		t.Fatal(err)
	}
	if err := installer.Uninstall(t.Context(), options(nil), true); err != nil {
		t.Fatal(err)
	}
	if err := c.Client(t).CoreV1().Namespaces().Delete(t.Context(), "istio-system", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for o := range strings.Lines(everything(t, c)) {
		if !strings.Contains(before, o) && !strings.Contains(o, "/kube-") && !strings.Contains(o, "/system:") && !strings.Contains(o, "apiserver") { // the API server's own
			t.Errorf("left behind: %s", o)
		}
	}
	// Its namespace is still being deleted: without controllers that ends when the test says so, once the user is told.
	again := options(nil)
	again.Out = onText(func(text string) {
		if strings.Contains(text, "istio-system is being deleted") {
			left := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}}
			if _, err := c.Client(t).CoreV1().Namespaces().Finalize(t.Context(), left, metav1.UpdateOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	install(again)
}

// onText is called with what is written.
type onText func(string)

func (f onText) Write(b []byte) (int, error) { f(string(b)); return len(b), nil }

// everything names the objects that an installation might leave.
func everything(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	return c.Kubectl(t, "", "get", "-A", "-o", "name",
		"crd,clusterrole,clusterrolebinding,role,rolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration,deploy,svc,cm,secret,sa,lease,hpa,pdb,networkpolicy")
}
