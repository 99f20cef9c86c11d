package injector

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/webhook"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// objects are the workloads of a stream of manifests, Lists taken apart.
func objects(t testing.TB, stream []byte) []map[string]any {
	t.Helper()
	var out []map[string]any
	add := func(x any) {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	for _, text := range strings.Split("\n"+string(stream), "\n---") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			continue // what is behind a separator
		}
		if items, ok := o["items"].([]any); ok {
			for _, x := range items {
				add(x)
			}
			continue
		}
		add(o)
	}
	return out
}

func child(o map[string]any, path ...string) map[string]any {
	for _, k := range path {
		o, _ = o[k].(map[string]any)
	}
	return o
}

// podOf is the pod that Kubernetes' controllers make of a workload: its template, with a name that is generated, and an owner. Nil: it is
// no workload.
func podOf(o map[string]any) map[string]any {
	kind, _ := o["kind"].(string)
	template := child(o, "spec", "template")
	switch {
	case kind == "Pod":
		return o
	case kind == "CronJob":
		template = child(o, "spec", "jobTemplate", "spec", "template")
	}
	if template == nil {
		return nil
	}
	name, _ := child(o, "metadata")["name"].(string)
	version, _ := o["apiVersion"].(string)
	raw, _ := json.Marshal(template)
	var pod map[string]any
	_ = json.Unmarshal(raw, &pod)
	meta, _ := pod["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		pod["metadata"] = meta
	}
	labels, _ := meta["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		meta["labels"] = labels
	}
	switch kind {
	case "Deployment":
		labels["pod-template-hash"] = "abc12"
		kind, name = "ReplicaSet", name+"-abc12"
	case "Rollout":
		labels["rollouts-pod-template-hash"] = "abc12"
		version, kind, name = "apps/v1", "ReplicaSet", name+"-abc12"
	case "DeploymentConfig":
		labels["deploymentconfig"] = name
		version, kind, name = "v1", "ReplicationController", name+"-1"
	case "CronJob":
		kind, name = "Job", name+"-29384756"
	}
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	if meta["namespace"] = child(o, "metadata")["namespace"]; meta["namespace"] == nil {
		meta["namespace"] = "default"
	}
	meta["generateName"] = name + "-"
	meta["ownerReferences"] = []any{map[string]any{"apiVersion": version, "kind": kind, "name": name, "uid": "1", "controller": true}}
	return pod
}

// admit asks the webhook about a pod, and returns what its patch makes of it.
func admit(t testing.TB, p *inject.Policy, pod []byte) (map[string]any, *admissionv1.AdmissionResponse) {
	t.Helper()
	h := &webhook.Handler{Policy: func() *inject.Policy { return p }, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
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
	r := httptest.NewRequest(http.MethodPost, "/inject", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
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
func sameByWebhook(t *testing.T, s scenario, out string) {
	before, after := objects(t, s.in), objects(t, []byte(out))
	if len(before) != len(after) {
		t.Fatalf("%d objects became %d", len(before), len(after))
	}
	for i, o := range before {
		pod := podOf(o)
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
		got, answer := admit(t, s.policy, raw)
		if !answer.Allowed {
			t.Errorf("object %d: the webhook refuses it: %s", i, answer.Result.Message)
			continue
		}
		want := canonical(podOf(after[i]))
		if got := canonical(got); !reflect.DeepEqual(got, want) {
			a, _ := yaml.Marshal(want)
			b, _ := yaml.Marshal(got)
			t.Errorf("object %d: the webhook makes another pod of it:\n%s", i, golden.Diff(string(a), string(b)))
		}
	}
}
