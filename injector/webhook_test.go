package injector

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/webhook"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// handler is the webhook with a policy.
func handler(p *inject.Policy) http.Handler {
	return &webhook.Handler{Policy: func() *inject.Policy { return p }, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler)}
}

// question is the review of a new pod.
func question(t testing.TB, pod []byte) []byte {
	t.Helper()
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "u", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func serve(h http.Handler, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/inject", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// admit asks the webhook about a pod, and returns what its patch makes of it.
func admit(t testing.TB, p *inject.Policy, pod []byte) (map[string]any, *admissionv1.AdmissionResponse) {
	t.Helper()
	w := serve(handler(p), question(t, pod))
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil || review.Response.UID != "u" {
		t.Fatalf("the webhook answers %d %s", w.Code, w.Body)
	}
	if len(review.Response.Patch) > 0 {
		patch, err := jsonpatch.DecodePatch(review.Response.Patch)
		if err == nil {
			pod, err = patch.Apply(pod)
		}
		if err != nil {
			t.Fatalf("apply %s: %v", review.Response.Patch, err)
		}
	}
	var out map[string]any
	if err := json.Unmarshal(pod, &out); err != nil {
		t.Fatal(err)
	}
	return out, review.Response
}

func child(o map[string]any, key string) map[string]any {
	m, _ := o[key].(map[string]any)
	return m
}

// canonical is a pod as far as both ways must agree: what Kubernetes' types leave out when it is empty does not count, nor what the
// controllers added.
func canonical(pod map[string]any) map[string]any {
	meta := child(pod, "metadata")
	labels := map[string]any{}
	for k, v := range child(meta, "labels") {
		if k != "pod-template-hash" && k != "rollouts-pod-template-hash" && k != "deploymentconfig" {
			labels[k] = v
		}
	}
	raw, _ := json.Marshal(map[string]any{"labels": labels, "annotations": child(meta, "annotations"), "spec": pod["spec"]})
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	prune(out)
	return out
}

func prune(m map[string]any) {
	for k, v := range m {
		switch x := v.(type) {
		case map[string]any:
			if prune(x); k == "resources" && len(x) == 0 {
				delete(m, k)
			}
		case []any:
			for _, item := range x {
				if y, ok := item.(map[string]any); ok {
					prune(y)
				}
			}
		}
	}
}

// sameByWebhook holds every pod of kube-inject's output equal to what the webhook makes of the pods of the input.
func sameByWebhook(t *testing.T, s corpus.Scenario, out string) {
	before, after := corpus.Objects(t, s.In), corpus.Objects(t, []byte(out))
	if len(before) != len(after) {
		t.Fatalf("%d objects became %d", len(before), len(after))
	}
	for i, o := range before {
		pod := corpus.Pod(o)
		if pod == nil {
			continue
		}
		if s.Namespace != "" && child(o, "metadata")["namespace"] == nil {
			child(pod, "metadata")["namespace"] = s.Namespace
		}
		raw, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		got, answer := admit(t, s.Policy, raw)
		if !answer.Allowed {
			t.Errorf("object %d: the webhook refuses it: %s", i, answer.Result.Message)
			continue
		}
		want := canonical(corpus.Pod(after[i]))
		if got := canonical(got); !reflect.DeepEqual(got, want) {
			a, _ := yaml.Marshal(want)
			b, _ := yaml.Marshal(got)
			t.Errorf("object %d: the webhook makes another pod of it:\n%s", i, golden.Diff(string(a), string(b)))
		}
	}
}
