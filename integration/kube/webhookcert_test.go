package kube

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mizzen-mesh/mizzen/internal/webhookcert"
)

// rotation is quick enough for a clock that is a little ahead of the API server's, whose own decides what certificates are good.
var rotation = webhookcert.Lifetimes{CA: 20 * time.Minute, Leaf: 6 * time.Minute, Overlap: time.Minute}

// webhookRig is a webhook on ConfigMaps of one namespace that lets everything in, whose certificate a Keeper keeps.
type webhookRig struct {
	client    *kubernetes.Clientset
	namespace string
	name      string // of the configuration
	keeper    *webhookcert.Keeper
	calls     atomic.Int64
}

const limit = 3 * time.Minute // for what takes milliseconds on a machine that has time

func newWebhookRig(t *testing.T, client *kubernetes.Clientset, namespace, name string, c clock.Clock) *webhookRig {
	t.Helper()
	w := &webhookRig{client: client, namespace: namespace, name: namespace + "-" + name}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.keeper = webhookcert.New(webhookcert.Options{
		Client: client, Namespace: namespace, Secret: "mizzen-webhook-ca", DNSNames: []string{"localhost"}, Validating: []string{w.name},
		Lifetimes: rotation, Clock: c, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.allow))
	_ = server.Listener.Close()
	server.Listener = tls.NewListener(l, w.keeper.TLS())
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelInfo)
	server.Config.SetKeepAlivesEnabled(false) // a handshake, hence a look at the certificate, for each request
	server.Start()
	t.Cleanup(server.Close)
	w.configure(t, fmt.Sprintf("https://localhost:%d/", l.Addr().(*net.TCPAddr).Port))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.keeper.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w
}

func (w *webhookRig) allow(rw http.ResponseWriter, q *http.Request) {
	w.calls.Add(1)
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(q.Body).Decode(&review); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	_ = json.NewEncoder(rw).Encode(review)
}

// configure makes the configuration, without a caBundle.
func (w *webhookRig) configure(t *testing.T, url string) {
	t.Helper()
	fail, none, scope, timeout := registrationv1.Fail, registrationv1.SideEffectClassNone, registrationv1.NamespacedScope, int32(10)
	api := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := api.Create(t.Context(), &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Webhooks: []registrationv1.ValidatingWebhook{{
			Name: "test.mizzen.dev", ClientConfig: registrationv1.WebhookClientConfig{URL: &url}, FailurePolicy: &fail, SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: &timeout,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}, Scope: &scope},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.Background(), w.name, metav1.DeleteOptions{}) })
}

// bundle is the caBundle in force.
func (w *webhookRig) bundle(t *testing.T) string {
	t.Helper()
	c, err := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), w.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(c.Webhooks[0].ClientConfig.CABundle)
}

// apply makes an object that the webhook is asked about.
func (w *webhookRig) apply(ctx context.Context) error {
	_, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestWebhookRotation: two servers share a CA that is replaced several times, while objects are applied without a failure.
func TestWebhookRotation(t *testing.T) {
	c := shared.Cluster(t)
	client := c.Client(t)
	ns := c.Namespace(t, "rotation", nil)
	fake := clocktesting.NewFakeClock(time.Now())
	rigs := []*webhookRig{newWebhookRig(t, client, ns, "one", fake), newWebhookRig(t, client, ns, "two", fake)}
	for _, w := range rigs {
		<-w.keeper.Ready()
	}
	eventually(t, "an object is let in", func() bool { return rigs[0].apply(t.Context()) == nil })

	ctx, stop := context.WithCancel(t.Context())
	var applied atomic.Int64
	var applying sync.WaitGroup
	applying.Go(func() {
		for ctx.Err() == nil {
			if err := rigs[0].apply(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("after %d objects: %v", applied.Load(), err)
				return
			}
			applied.Add(1)
		}
	})
	signers := map[string]bool{}
	for range 90 { // 45 minutes, in half minutes: the certificates of today are good for an hour before, too
		fake.Step(rotation.Overlap / 2)
		seen := applied.Load()
		eventually(t, "both know the Secret", func() bool {
			s, err := client.CoreV1().Secrets(ns).Get(t.Context(), "mizzen-webhook-ca", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			signers[string(s.Data["ca-cert.pem"])] = true
			one := rigs[0].bundle(t)
			return fake.Waiters() == len(rigs) && one == rigs[1].bundle(t) && one == inForce(s.Data)
		})
		eventually(t, "an object is applied", func() bool { return applied.Load() > seen+1 || t.Failed() })
		if t.Failed() {
			break
		}
	}
	stop()
	applying.Wait()
	if len(signers) < 3 {
		t.Errorf("%d CAs in 45 minutes", len(signers))
	}
	if one, two := rigs[0].calls.Load(), rigs[1].calls.Load(); one < applied.Load() || two < applied.Load() {
		t.Errorf("%d objects, and the webhooks were asked %d and %d times", applied.Load(), one, two)
	}
	t.Logf("%d CAs, %d objects", len(signers), applied.Load())
}

// inForce is the caBundle that the Secret's certificates make.
func inForce(data map[string][]byte) string {
	return string(data["retired-cert.pem"]) + string(data["ca-cert.pem"]) + string(data["next-cert.pem"])
}

// TestBundleRestored: whoever overwrites the caBundle, or takes the Secret away, it is mended.
func TestBundleRestored(t *testing.T) {
	c := shared.Cluster(t)
	client := c.Client(t)
	w := newWebhookRig(t, client, c.Namespace(t, "restored", nil), "one", clock.RealClock{})
	<-w.keeper.Ready()
	eventually(t, "an object is let in", func() bool { return w.apply(t.Context()) == nil })
	before := w.bundle(t)
	api := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := api.Patch(t.Context(), w.name, "application/json-patch+json", []byte(`[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the caBundle is restored", func() bool { return w.bundle(t) == before })
	eventually(t, "an object is let in", func() bool { return w.apply(t.Context()) == nil })
	if err := client.CoreV1().Secrets(w.namespace).Delete(t.Context(), "mizzen-webhook-ca", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another caBundle", func() bool { b := w.bundle(t); return b != before && b != "" })
	eventually(t, "an object is let in", func() bool { return w.apply(t.Context()) == nil })
}
