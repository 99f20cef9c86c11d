package kube

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/mizzen-mesh/mizzen/injector/settings"
	"github.com/mizzen-mesh/mizzen/injector/webhook"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
	"github.com/mizzen-mesh/mizzen/internal/webhookcert"
)

// injectorRig is an injector whose webhook configuration asks about the pods of one namespace.
type injectorRig struct {
	client     *kubernetes.Clientset
	namespace  string // labelled
	plain      string // its pods are not injected
	settings   settings.Cluster
	monitoring string       // URL
	warnings   bytes.Buffer // of the last call
}

// HandleWarningHeader implements rest.WarningHandler.
func (r *injectorRig) HandleWarningHeader(_ int, _ string, text string) {
	r.warnings.WriteString(text + "\n")
}

func newInjectorRig(t *testing.T, c *kubetest.Cluster) *injectorRig {
	t.Helper()
	r := &injectorRig{}
	config := c.Config(t)
	config.WarningHandler = r
	var err error
	if r.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(c.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	system := c.Namespace(t, "injector", nil)
	r.namespace, r.plain = c.Namespace(t, "injected", map[string]string{"istio-injection": "enabled", "rig": system}), c.Namespace(t, "plain", nil)
	r.settings = settings.Cluster{Client: r.client, Dynamic: dyn, Namespace: system, Log: slog.New(slog.DiscardHandler)}
	r.configMap(t, "istio-sidecar-injector", map[string]string{"config": "policy: enabled\n", "values": "global: {hub: first}\n"})
	keeper := webhookcert.New(webhookcert.Options{
		Client: c.Client(t), Namespace: system, Secret: "mizzen-webhook-ca", DNSNames: []string{"localhost"}, Mutating: []string{system}, Log: r.settings.Log,
	})
	addresses := make(chan [2]net.Addr, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := webhook.Run(ctx, webhook.Options{
			Addr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", TLS: keeper.TLS(), Trusted: keeper.Ready(), Certificates: keeper.Run,
			Log: r.settings.Log, Listening: func(a, b net.Addr) { addresses <- [2]net.Addr{a, b} },
			Watch: r.settings.Watch,
		})
		if err != nil {
			t.Errorf("the injector ends: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	at := <-addresses
	r.monitoring = "http://" + at[1].String()
	r.configure(t, system, fmt.Sprintf("https://localhost:%d/inject", at[0].(*net.TCPAddr).Port))
	eventually(t, "the injector is ready", r.ready)
	eventually(t, "the API server asks the injector", func() bool {
		p, err := r.create(t, r.namespace, simplePod("probe"))
		return err == nil && injected(p)
	})
	return r
}

func (r *injectorRig) configMap(t *testing.T, name string, data map[string]string) {
	t.Helper()
	api := r.client.CoreV1().ConfigMaps(r.settings.Namespace)
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if _, err := api.Create(t.Context(), m, metav1.CreateOptions{}); err == nil {
		return
	}
	if _, err := api.Update(t.Context(), m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (r *injectorRig) configure(t *testing.T, name, url string) {
	t.Helper()
	fail, none, scope := registrationv1.Fail, registrationv1.SideEffectClassNone, registrationv1.NamespacedScope
	api := r.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := api.Create(t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: "namespace.sidecar-injector.mizzen.dev", ClientConfig: registrationv1.WebhookClientConfig{URL: &url}, FailurePolicy: &fail,
			SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"istio-injection": "enabled", "rig": name}},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &scope},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

func (r *injectorRig) ready() bool {
	answer, err := http.Get(r.monitoring + "/ready")
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// create is a dry run: nothing stays.
func (r *injectorRig) create(t *testing.T, namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	pod.Namespace, pod.Spec.ServiceAccountName = namespace, "default" // as admission has it
	r.warnings.Reset()
	return r.client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

func simplePod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "example/a"}}}}
}

func injected(p *corev1.Pod) bool {
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if c.Name == "istio-proxy" {
			return true
		}
	}
	return false
}

// proxyImage is that of a pod's proxy, "" if it has none.
func proxyImage(p *corev1.Pod) string {
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if c.Name == "istio-proxy" {
			return c.Image
		}
	}
	return ""
}

// TestInjector: a labelled namespace's pods get the proxy, others do not; warnings reach who creates them; what must not run is refused with
// the reason; and another setting is in force without a restart, a mistake in it is not.
func TestInjector(t *testing.T) {
	r := newInjectorRig(t, shared.Cluster(t))
	p, err := r.create(t, r.namespace, simplePod("a"))
	if err != nil || proxyImage(p) != "first/proxy:latest" {
		t.Fatalf("%v, image %q", err, proxyImage(p))
	}
	if n := len(p.Spec.InitContainers); n != 3 || p.Spec.InitContainers[2].RestartPolicy == nil {
		t.Errorf("%d init containers; want the proxy as a native sidecar, since the cluster has them", n)
	}
	if p, err = r.create(t, r.plain, simplePod("a")); err != nil || injected(p) {
		t.Errorf("in a namespace without a label: %v, injected %v", err, injected(p))
	}
	wrong := simplePod("a")
	wrong.Annotations = map[string]string{"sidecar.istio.io/proxyCpu": "1"}
	if _, err = r.create(t, r.namespace, wrong); err != nil || !strings.Contains(r.warnings.String(), "did you mean sidecar.istio.io/proxyCPU?") {
		t.Errorf("a misspelt annotation: %v, warnings %q", err, r.warnings.String())
	}
	wrong.Annotations = map[string]string{"traffic.sidecar.istio.io/excludeInboundPorts": "http"}
	if _, err = r.create(t, r.namespace, wrong); err == nil || !strings.Contains(err.Error(), `excludeInboundPorts: want ports separated by commas, got "http"`) {
		t.Errorf("a wrong annotation: %v", err)
	}
	out := simplePod("a")
	out.Labels = map[string]string{"sidecar.istio.io/inject": "false"}
	if p, err = r.create(t, r.namespace, out); err != nil || injected(p) {
		t.Errorf("a pod that says no: %v, injected %v", err, injected(p))
	}

	image := func(want string) func() bool {
		return func() bool {
			p, err := r.create(t, r.namespace, simplePod("a"))
			return err == nil && proxyImage(p) == want
		}
	}
	r.configMap(t, "istio-sidecar-injector", map[string]string{"values": "global: {hub: second}"})
	eventually(t, "another hub is in force", image("second/proxy:latest"))
	r.configMap(t, "istio-sidecar-injector", map[string]string{"values": "global: {hub: [third]}"})
	eventually(t, "the mistake is counted", func() bool { return r.metric(t, `mizzen_injector_configuration_reads_total{result="error"} 1`) })
	if !image("second/proxy:latest")() {
		t.Error("after a mistake in the settings the last good ones are not in force")
	}
	r.configMap(t, "istio-sidecar-injector", map[string]string{"values": "{}"})
	r.configMap(t, "istio", map[string]string{"mesh": "defaultConfig: {statusPort: 16020}"})
	eventually(t, "another MeshConfig is in force", func() bool {
		p, err := r.create(t, r.namespace, simplePod("a"))
		return err == nil && p.Annotations["prometheus.io/port"] == "16020"
	})
	for _, m := range []string{"sidecar_injection_requests_total", "sidecar_injection_success_total", "sidecar_injection_skip_total 1", "sidecar_injection_failure_total 1"} {
		if !r.metric(t, "\n"+m) {
			t.Errorf("/metrics lacks %s", m)
		}
	}
}

func (r *injectorRig) metric(t *testing.T, line string) bool {
	t.Helper()
	answer, err := http.Get(r.monitoring + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(b.String(), line)
}
