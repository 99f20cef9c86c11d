package kube

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// validator is a control plane with its validating webhook, of a namespace and a revision of its own, for objects of that namespace.
type validator struct {
	c                   *kubetest.Cluster
	client              *kubernetes.Clientset
	namespace, revision string
	configuration       string
}

func newValidator(t *testing.T, c *kubetest.Cluster) *validator {
	t.Helper()
	c.Definitions(t)
	ns := c.Namespace(t, "admission", nil)
	return &validator{c: c, client: c.Client(t), namespace: ns, revision: ns, configuration: "mizzen-validator-" + ns}
}

// start runs a replica until the test ends or stop is called, and returns once it listens.
func (v *validator) start(t *testing.T, addr string) (listens string, stop func()) {
	t.Helper()
	at := make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- run.Run(ctx, run.Options{
			XDSAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Modules: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Cluster: &run.Cluster{Config: v.c.Config(t), Namespace: v.namespace, Revision: v.revision, Webhook: &run.Webhook{
				Addr: addr, Names: []string{"localhost"}, Serving: func(a net.Addr) { at <- a.String() },
			}},
		})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	select {
	case a := <-at:
		return a, stop
	case err := <-done:
		done <- nil
		t.Fatalf("the control plane ended: %v", err)
	}
	return "", nil
}

// configure makes the configuration as the chart does, but that it names an address in the place of a Service.
func (v *validator) configure(t *testing.T, addr string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	url, ignore, none, timeout := "https://localhost:"+port+"/validate", registrationv1.Ignore, registrationv1.SideEffectClassNone, int32(30)
	api := v.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err = api.Create(t.Context(), &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: v.configuration},
		Webhooks: []registrationv1.ValidatingWebhook{{
			Name: "validation.mizzen.dev", ClientConfig: registrationv1.WebhookClientConfig{URL: &url}, FailurePolicy: &ignore, SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: &timeout,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": v.namespace}},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create, registrationv1.Update},
				Rule: registrationv1.Rule{
					APIGroups:   []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io", "mizzen.dev"},
					APIVersions: []string{"*"}, Resources: []string{"*"},
				},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.Background(), v.configuration, metav1.DeleteOptions{}) })
	eventually(t, "the webhook fails closed", func() bool {
		c, err := api.Get(t.Context(), v.configuration, metav1.GetOptions{})
		return err == nil && *c.Webhooks[0].FailurePolicy == registrationv1.Fail
	})
}

// object is YAML of a kind with a spec.
func object(kind, spec string) string {
	k, _ := istio.FindKind(kind)
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: a}, spec: %s}", k.APIVersion(), k.Name, spec)
}

// said are the errors of `mizzen validate` for an object in a namespace, without their places in a file, which order them there.
func said(namespace, text string) []string {
	_, ds := istio.Decode("a.yaml", strings.NewReader(strings.Replace(text, "name: a", "name: a, namespace: "+namespace, 1)))
	var out []string
	for _, d := range ds.Errors() {
		d.Position = istio.Position{}
		out = append(out, d.String())
	}
	slices.Sort(out)
	return out
}

// TestWrongObjectsAreRefused: kubectl apply says what `mizzen validate` says, and stores nothing.
func TestWrongObjectsAreRefused(t *testing.T) {
	v := newValidator(t, side(t))
	addr, _ := v.start(t, "127.0.0.1:0")
	v.configure(t, addr)
	const denied = `admission webhook "validation.mizzen.dev" denied the request: `
	for name, tt := range map[string]struct{ object, want string }{
		"enum": {
			object("dr", "{host: b, trafficPolicy: {loadBalancer: {simple: ROUND_ROBBIN}}}"),
			`Error [IST0106] (DestinationRule <ns>/a) spec.trafficPolicy.loadBalancer.simple: want one of UNSPECIFIED, LEAST_CONN, RANDOM, PASSTHROUGH, ROUND_ROBIN, LEAST_REQUEST, got the string "ROUND_ROBBIN"; did you mean ROUND_ROBIN?`,
		},
		"missing":          {object("dr", "{exportTo: [.]}"), "Error [IST0106] (DestinationRule <ns>/a) spec.host: host is required"},
		"two of a oneof":   {object("vs", "{hosts: [b], http: [{match: [{uri: {exact: /a, prefix: /b}}], route: [{destination: {host: b}}]}]}"), "exact and prefix exclude each other; keep one"},
		"duration":         {object("vs", "{hosts: [b], http: [{timeout: five, route: [{destination: {host: b}}]}]}"), `want a duration such as 5s, 250ms or 1h, got the string "five"`},
		"number in quotes": {object("dr", `{host: b, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: "7"}}}}}`), "write 7 without quotes"},
		"range":            {object("gw", "{selector: {a: b}, servers: [{port: {number: 70000, name: http, protocol: HTTP}, hosts: ['*']}]}"), "must be 1 to 65535, got 70000"},
		"rejected field":   {object("sidecar", "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: 127.0.0.1:80, tls: {mode: SIMPLE}}]}"), "[MZ0201]"},
		"our own kind":     {object("rl", "{limits: [{requests: 5, per: fortnight}]}"), "(RateLimit <ns>/a) spec.limits[0].per"},
		"two mistakes":     {object("vs", "{http: [{timeout: 0.5ms, route: [{destination: {}}]}]}"), "\nError ["},
	} {
		_, errs, err := v.c.TryKubectl(t, tt.object, "apply", "-n", v.namespace, "-f", "-")
		_, told, _ := strings.Cut(strings.TrimSpace(errs), denied)
		lines := strings.Split(told, "\n")
		slices.Sort(lines)
		want := strings.ReplaceAll(tt.want, "<ns>", v.namespace)
		if err == nil || !slices.Equal(lines, said(v.namespace, tt.object)) || !strings.Contains(errs, want) {
			t.Errorf("%s: kubectl says\n%s\nwant\n%s\nwith %s", name, errs, said(v.namespace, tt.object), want)
		}
	}
	for name, tt := range map[string]struct{ object, want string }{ // the API server's own
		"unknown field": {object("vs", "{hosts: [b], htpp: []}"), `strict decoding error: unknown field "spec.htpp"`},
		"type":          {object("vs", "{hosts: b}"), `spec.hosts: Invalid value: "string": spec.hosts in body must be of type array: "string"`},
	} {
		if _, errs, err := v.c.TryKubectl(t, tt.object, "apply", "-n", v.namespace, "-f", "-"); err == nil || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: kubectl says\n%s\nwant %s", name, errs, tt.want)
		}
	}
	if out := v.c.Kubectl(t, "", "get", "vs,dr,gw,sidecar,rl", "-n", v.namespace, "-oname"); out != "" {
		t.Errorf("stored all the same:\n%s", out)
	}
}

// TestWarnings: what is let in with a warning, and what the rest of the mesh makes of it.
func TestWarnings(t *testing.T) {
	v := newValidator(t, side(t))
	addr, _ := v.start(t, "127.0.0.1:0")
	v.configure(t, addr)
	v.c.Kubectl(t, "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {selector: {app: b}, ports: [{name: http, port: 80}]}}", "apply", "-n", v.namespace, "-f", "-")
	for name, tt := range map[string]struct{ object, want string }{
		"obsolete field":  {object("vs", "{hosts: [b], http: [{route: [{destination: {host: b}}], appendHeaders: {a: b}}]}"), "Warning: [IST0002] (VirtualService <ns>/a) spec.http[0].appendHeaders: appendHeaders is obsolete"},
		"obsolete value":  {object("dr", "{host: b, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}}"), "LEAST_CONN is obsolete: read as LEAST_REQUEST; write LEAST_REQUEST"},
		"unknown subset":  {object("vs", "{hosts: [b], http: [{route: [{destination: {host: b, subset: v9}}]}]}"), "spec.http[0].route[0].destination"},
		"unknown gateway": {object("vs", "{hosts: [b.example], gateways: [nowhere], http: [{route: [{destination: {host: b}}]}]}"), "[IST0101]"},
	} {
		want := strings.ReplaceAll(tt.want, "<ns>", v.namespace)
		var errs string
		eventually(t, name+" is warned of", func() bool { // the control plane reads the Service in its time
			_, e, err := v.c.TryKubectl(t, tt.object, "apply", "--dry-run=server", "-n", v.namespace, "-f", "-")
			errs = e
			if err != nil {
				t.Fatalf("%s: %v: %s", name, err, e)
			}
			return strings.Contains(e, want)
		})
		t.Log(errs)
	}
	if _, errs, err := v.c.TryKubectl(t, object("vs", "{hosts: [b], http: [{route: [{destination: {host: b}}]}]}"), "apply", "-n", v.namespace, "-f", "-"); err != nil || errs != "" {
		t.Errorf("a good object: %v: %s", err, errs)
	}
	tries := 0
	eventually(t, "what was applied a moment before is known", func() bool { // on a busy machine not each time
		tries++
		both := fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: c%d}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: c%[1]d}, spec: {hosts: [c%[1]d], http: [{route: [{destination: {host: c%[1]d}}]}]}}
`, tries)
		_, errs, err := v.c.TryKubectl(t, both, "apply", "-n", v.namespace, "-f", "-")
		return err == nil && errs == ""
	})
}

// storedMistakes: what is wrong and stored already may be labelled, mended and deleted, and says what is wrong with it.
func storedMistakes(t *testing.T, c *kubetest.Cluster) {
	v := newValidator(t, c)
	wrong := object("dr", "{exportTo: [.]}")
	v.c.Kubectl(t, wrong, "apply", "-n", v.namespace, "-f", "-")
	v.c.Kubectl(t, "", "patch", "dr", "a", "-n", v.namespace, "--type=merge", "-p", `{"metadata": {"finalizers": ["mizzen.dev/test"]}}`)
	addr, _ := v.start(t, "127.0.0.1:0")
	v.configure(t, addr)
	client := dynamicClient(t, v.c)
	status := func() string { return says(t, client, "dr", v.namespace, "a") }
	eventually(t, "its status says what is wrong", func() bool {
		return status() == "Reconciled=False Rejected: Error [IST0106] spec.host: host is required;IST0106 ERROR "
	})
	v.c.Kubectl(t, "", "label", "dr", "a", "-n", v.namespace, "a=b")
	v.c.Kubectl(t, object("dr", "{host: b}"), "apply", "-n", v.namespace, "-f", "-")
	eventually(t, "it says so no more", func() bool {
		s := status()
		return !strings.Contains(s, "Reconciled") && !strings.Contains(s, "IST0106")
	})
	if _, errs, err := v.c.TryKubectl(t, wrong, "apply", "-n", v.namespace, "-f", "-"); err == nil || !strings.Contains(errs, "host is required") {
		t.Errorf("the mistake again: %v: %s", err, errs)
	}
	v.c.Kubectl(t, "", "delete", "dr", "a", "-n", v.namespace, "--wait=false")
	v.c.Kubectl(t, "", "patch", "dr", "a", "-n", v.namespace, "--type=merge", "-p", `{"metadata": {"finalizers": []}}`)
	if out := v.c.Kubectl(t, "", "get", "dr", "-n", v.namespace, "-oname"); out != "" {
		t.Errorf("it is still there: %s", out)
	}
}

// TestReplicaTakesOver: a replica that comes with the same Secret is trusted from its first answer on.
func TestReplicaTakesOver(t *testing.T) {
	v := newValidator(t, side(t))
	addr, stop := v.start(t, "127.0.0.1:0")
	v.configure(t, addr)
	bad := object("dr", "{exportTo: [.]}")
	refused := func() bool {
		_, errs, _ := v.c.TryKubectl(t, bad, "apply", "--dry-run=server", "-n", v.namespace, "-f", "-")
		return strings.Contains(errs, "host is required")
	}
	if !refused() {
		t.Fatal("a wrong object is let in")
	}
	stop()
	if _, errs, err := v.c.TryKubectl(t, object("dr", "{host: b}"), "apply", "--dry-run=server", "-n", v.namespace, "-f", "-"); err == nil || !strings.Contains(errs, "failed calling webhook") {
		t.Errorf("without a replica: %v: %s", err, errs)
	}
	v.start(t, addr)
	eventually(t, "the other replica refuses it", refused)
	if !slices.Contains([]string{"mizzen-webhook-ca-" + v.revision}, strings.TrimSpace(strings.TrimPrefix(v.c.Kubectl(t, "", "get", "secret", "-n", v.namespace, "-oname"), "secret/"))) {
		t.Error("another Secret")
	}
}
