// Package webhook answers the API server's questions about new pods: the mutating webhook /inject.
package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/injector/inject"
)

// maxBody bounds a question; the API server takes objects of 3 MiB at most.
const maxBody = 8 << 20

// Handler answers AdmissionReviews of admission.k8s.io/v1. Which namespaces are asked about is the webhook configuration's choice.
type Handler struct {
	// Policy is the one in force; nil while there is none yet.
	Policy  func() *inject.Policy
	Metrics *Metrics
	Log     *slog.Logger
}

// ServeHTTP implements http.Handler. What is no review is refused by an HTTP status; everything else is an answer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.Metrics.requests.Inc()
	defer func() { h.Metrics.seconds.Observe(time.Since(start).Seconds()) }()
	refuse := func(code int, why string) {
		h.Metrics.failures.Inc()
		http.Error(w, why, code)
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		refuse(http.StatusUnsupportedMediaType, "want Content-Type: application/json")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(http.StatusBadRequest, "read request: "+err.Error())
		return
	}
	policy := h.Policy()
	if policy == nil {
		refuse(http.StatusServiceUnavailable, "the injector has not read its configuration yet")
		return
	}
	answer, err := h.review(policy, r.URL.Path, body)
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	out, err := json.Marshal(answer)
	if err != nil {
		refuse(http.StatusInternalServerError, "write answer: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out) // a client that left is no failure of ours
}

// review answers one. An error is about what is no AdmissionReview.
func (h *Handler) review(policy *inject.Policy, path string, body []byte) (*admissionv1.AdmissionReview, error) {
	var in admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("read AdmissionReview: %w", err)
	}
	if in.Request == nil || in.Kind != "AdmissionReview" || in.APIVersion != admissionv1.SchemeGroupVersion.String() {
		return nil, fmt.Errorf("read AdmissionReview: want one of %s with a request", admissionv1.SchemeGroupVersion)
	}
	out := &admissionv1.AdmissionReview{TypeMeta: in.TypeMeta}
	out.Response = h.answer(policy, path, in.Request)
	out.Response.UID = in.Request.UID
	return out, nil
}

// answer decides about one object. What is no new pod is let through.
func (h *Handler) answer(policy *inject.Policy, path string, q *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	allowed := &admissionv1.AdmissionResponse{Allowed: true}
	if q.Kind.Group != "" || q.Kind.Kind != "Pod" || q.Operation != admissionv1.Create || q.SubResource != "" {
		h.Metrics.skipped.Inc()
		return allowed
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(q.Object.Raw, pod); err != nil {
		return h.refuse(q, pod, fmt.Errorf("read pod: %w", err))
	}
	pod.ManagedFields = nil // large, and of no use here
	if pod.Namespace == "" {
		pod.Namespace = q.Namespace
	}
	result, err := policy.Inject(inject.Request{Pod: pod, Chosen: true, Env: Variables(path)})
	if err != nil {
		return h.refuse(q, pod, err)
	}
	allowed.Warnings = result.Warnings
	if result.Pod == nil {
		h.Metrics.skipped.Inc()
		h.Log.Debug("pod is left alone", "pod", name(pod), "namespace", pod.Namespace, "why", result.Why)
		return allowed
	}
	if allowed.Patch, err = json.Marshal(inject.Patch(pod, result.Pod)); err != nil {
		return h.refuse(q, pod, err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	allowed.PatchType = &kind
	h.Metrics.injected.Inc()
	h.Log.Debug("pod is injected", "pod", name(pod), "namespace", pod.Namespace)
	return allowed
}

// refuse keeps a pod out: without its proxy it must not run.
func (h *Handler) refuse(q *admissionv1.AdmissionRequest, pod *corev1.Pod, why error) *admissionv1.AdmissionResponse {
	h.Metrics.failures.Inc()
	h.Log.Warn("pod is refused", "pod", name(pod), "namespace", q.Namespace, "why", why)
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: why.Error(),
	}}
}

// name of a pod, as far as it has one yet.
func name(pod *corev1.Pod) string {
	if pod.Name != "" {
		return pod.Name
	}
	return pod.GenerateName + "*"
}

// Variables are those of the proxy that a webhook's path asks for, as Istio's do: /inject/cluster/NAME/net/NAME/ANY/VALUE, with "/" in a
// value as --slash--.
func Variables(path string) map[string]string {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(path, "/"), "/inject/")
	if !ok || rest == "" {
		return nil
	}
	out := map[string]string{}
	parts := strings.Split(rest, "/")
	for i := 0; i+1 < len(parts); i += 2 {
		key := strings.ToUpper(parts[i])
		switch parts[i] {
		case "":
			continue
		case "cluster":
			key = "ISTIO_META_CLUSTER_ID"
		case "net":
			key = "ISTIO_META_NETWORK"
		}
		out[key] = strings.ReplaceAll(parts[i+1], "--slash--", "/")
	}
	return out
}
