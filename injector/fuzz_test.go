package injector

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/kubeinject"
	"github.com/mizzen-mesh/mizzen/injector/webhook"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

func policies(t testing.TB) []*inject.Policy {
	t.Helper()
	p, err := inject.New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return []*inject.Policy{p, p.With(nil, nil, true)}
}

// FuzzReview: whatever is sent to the webhook is answered, and an answer to a review is a review.
func FuzzReview(f *testing.F) {
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":{"spec":{"containers":[{"name":"a"}]}}}}`), "/inject/cluster/a/net/b")
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`), "/inject")
	f.Add([]byte(`[]`), "/inject/:ENV:")
	p := policies(f)[1]
	h := &webhook.Handler{Policy: func() *inject.Policy { return p }, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL.Path = path
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			return
		}
		var out admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil {
			t.Fatalf("the answer is %s (%v)", w.Body, err)
		}
	})
}

// FuzzPod: of any pod comes a pod, a reason or an error; the one that was asked for stays as it was, and the patch leads from it to the
// other.
func FuzzPod(f *testing.F) {
	for _, c := range golden.Load(f, "testdata/inject") {
		for _, o := range corpus.Objects(f, corpus.Read(f, c).In) {
			if raw, err := json.Marshal(corpus.Pod(o)); err == nil {
				f.Add(raw)
			}
		}
	}
	for seed := range uint64(20) {
		if raw, err := json.Marshal(corpus.NewRandom(seed).Pod()); err == nil {
			f.Add(raw)
		}
	}
	all := policies(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var pod corev1.Pod
		if json.Unmarshal(raw, &pod) != nil {
			return
		}
		for _, p := range all {
			check(t, p, &pod)
		}
	})
}

// FuzzAnnotation: whatever stands in an annotation.
func FuzzAnnotation(f *testing.F) {
	for _, name := range []string{"sidecar.istio.io/userVolume", "proxy.istio.io/config", "traffic.sidecar.istio.io/excludeInboundPorts", "sidecar.istio.io/status", "inject.istio.io/templates", "prometheus.io/port"} {
		f.Add(name, `{"a":{"emptyDir":{}}}`)
		f.Add(name, "80,443")
		f.Add(name, "null")
	}
	all := policies(f)
	f.Fuzz(func(t *testing.T, name, value string) {
		pod := corpus.NewRandom(1).Pod()
		pod.Annotations = map[string]string{name: value}
		for _, p := range all {
			check(t, p, pod)
		}
	})
}

// FuzzManifests: kube-inject of any text ends, and its output goes in again unchanged.
func FuzzManifests(f *testing.F) {
	for _, c := range golden.Load(f, "testdata/inject") {
		f.Add(corpus.Read(f, c).In)
	}
	p := policies(f)[1]
	f.Fuzz(func(t *testing.T, text []byte) {
		var once, twice bytes.Buffer
		if _, err := kubeinject.Run(p, kubeinject.Options{}, bytes.NewReader(text), &once); err != nil {
			return
		}
		if _, err := kubeinject.Run(p, kubeinject.Options{}, bytes.NewReader(once.Bytes()), &twice); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("injected twice it is another (%v):\n%s", err, golden.Diff(once.String(), twice.String()))
		}
	})
}

func check(t *testing.T, p *inject.Policy, pod *corev1.Pod) {
	t.Helper()
	before := pod.DeepCopy()
	got, err := p.Inject(inject.Request{Pod: pod, Chosen: true})
	if !reflect.DeepEqual(before, pod) {
		t.Fatal("the pod that was asked for was changed")
	}
	if err != nil || got.Pod == nil {
		return
	}
	ops := inject.Patch(pod, got.Pod)
	raw, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	from, _ := json.Marshal(pod)
	want, _ := json.Marshal(got.Pod)
	if len(ops) > 0 {
		if from, err = patch.Apply(from); err != nil {
			t.Fatalf("apply %s: %v", raw, err)
		}
	}
	if !jsonpatch.Equal(from, want) {
		t.Errorf("the patch %s leads to\n%s, not to\n%s", raw, from, want)
	}
}

// TestRandomPods: what the fuzz targets hold, over random pods.
func TestRandomPods(t *testing.T) {
	all := policies(t)
	for seed := range uint64(500) {
		check(t, all[seed%2], corpus.NewRandom(seed).Pod())
	}
}
