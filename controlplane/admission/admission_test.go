package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

func object(metadata, spec string) runtime.RawExtension {
	return runtime.RawExtension{Raw: fmt.Appendf(nil, `{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "a", "namespace": "shop"%s}, "spec": %s}`, metadata, spec)}
}

// TestReview: who is let in, and with which words.
func TestReview(t *testing.T) {
	good, wrong, worse := `{"host": "b"}`, `{"exportTo": ["."]}`, `{}`
	const required = "Error [IST0106] (DestinationRule shop/a) spec.host: host is required"
	for name, tt := range map[string]struct {
		q    admissionv1.AdmissionRequest
		want string // of the refusal; "" it is let in
		warn string
	}{
		"good":             {q: admissionv1.AdmissionRequest{Operation: "CREATE", Object: object("", good)}, warn: "[IST0101] (DestinationRule shop/a) nobody is there"},
		"wrong":            {q: admissionv1.AdmissionRequest{Operation: "CREATE", Object: object("", wrong)}, want: required},
		"wrong update":     {q: admissionv1.AdmissionRequest{Operation: "UPDATE", Object: object("", wrong), OldObject: object("", good)}, want: required},
		"other mistake":    {q: admissionv1.AdmissionRequest{Operation: "UPDATE", Object: object("", wrong), OldObject: object("", worse)}, want: required},
		"label":            {q: admissionv1.AdmissionRequest{Operation: "UPDATE", Object: object(`, "labels": {"a": "b"}`, wrong), OldObject: object("", wrong)}, warn: strings.TrimPrefix(required, "Error ")},
		"going":            {q: admissionv1.AdmissionRequest{Operation: "UPDATE", Object: object(`, "deletionTimestamp": "2026-01-31T12:00:00Z"`, wrong), OldObject: object("", good)}},
		"deletion":         {q: admissionv1.AdmissionRequest{Operation: "DELETE", OldObject: object("", wrong)}},
		"status":           {q: admissionv1.AdmissionRequest{Operation: "UPDATE", SubResource: "status", Object: object("", wrong), OldObject: object("", good)}},
		"not an object":    {q: admissionv1.AdmissionRequest{Operation: "CREATE", Object: runtime.RawExtension{Raw: []byte("[]")}}, want: "not an object"},
		"suppressed":       {q: admissionv1.AdmissionRequest{Operation: "CREATE", Object: object(`, "annotations": {"galley.istio.io/analyze-suppress": "IST0101"}`, good)}},
		"bookkeeping":      {q: admissionv1.AdmissionRequest{Operation: "CREATE", Object: object(`, "managedFields": [{"manager": "kubectl", "operation": "Apply"}], "uid": "a", "generation": 1, "annotations": {"galley.istio.io/analyze-suppress": "*"}`, good)}},
		"dry run is alike": {q: admissionv1.AdmissionRequest{Operation: "CREATE", DryRun: new(bool), Object: object("", wrong)}, want: required},
	} {
		tt.q.UID = types.UID(name)
		r := Review(t.Context(), &tt.q, func(_ context.Context, set istio.Set) istio.Diagnostics {
			m := set.Metas()[0]
			return istio.Diagnostics{{Code: "IST0101", Severity: istio.Warning, Object: m.Ref, Message: "nobody is there"}}
		})
		text := ""
		if r.Result != nil {
			text = r.Result.Message
		}
		if r.UID != types.UID(name) || r.Allowed != (tt.want == "") || !strings.Contains(text, tt.want) {
			t.Errorf("%s: allowed %v: %s", name, r.Allowed, text)
		}
		if got := strings.Join(r.Warnings, "\n"); got != tt.warn {
			t.Errorf("%s: warnings %q, want %q", name, got, tt.warn)
		}
	}
}

// TestManyWarnings: the API server drops what is beyond 4 KiB unless each is short.
func TestManyWarnings(t *testing.T) {
	var ds istio.Diagnostics
	for i := range 30 {
		ds = append(ds, istio.Diagnostic{Code: "MZ0301", Severity: istio.Warning, Message: fmt.Sprint(i, strings.Repeat("ä", 300))})
	}
	for _, w := range warnings(ds) {
		if len(w) > longest || !strings.HasSuffix(w, "ä...") {
			t.Fatalf("%d bytes: %s", len(w), w)
		}
	}
}

// TestHandler: what is no question is a bad request, and an answer names the question.
func TestHandler(t *testing.T) {
	h := Handler(nil)
	for body, want := range map[string]int{"": 400, "{}": 400, `{"request": {"uid": "u", "operation": "CREATE", "object": {}}}`: 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/validate", strings.NewReader(body)))
		if w.Code != want {
			t.Errorf("%q: %d: %s", body, w.Code, w.Body)
		}
		var answer admissionv1.AdmissionReview
		if want == 200 && (json.Unmarshal(w.Body.Bytes(), &answer) != nil || answer.Response == nil || answer.Response.UID != "u" || answer.Request != nil) {
			t.Errorf("%q: %s", body, w.Body)
		}
	}
}
