// Package admission is the validating webhook: the API server asks it about every object of Istio's kinds and Mizzen's before it is
// stored. What `mizzen validate` calls an error is refused, with the same words; what it warns of, and what the mesh makes of the
// object, are warnings, which kubectl prints.
package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mizzen-mesh/mizzen/controlplane/analyze"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Mesh says what a mesh would make of an object, if the object, which is all that the Set has, came in or took the place of an older
// one. It is asked for warnings only: nil, and soon, if it cannot say.
type Mesh func(ctx context.Context, object istio.Set) istio.Diagnostics

// Review answers one question of the API server. It changes nothing, so a dry run is like any other.
func Review(ctx context.Context, q *admissionv1.AdmissionRequest, mesh Mesh) *admissionv1.AdmissionResponse {
	out := &admissionv1.AdmissionResponse{UID: q.UID, Allowed: true}
	if q.Operation != admissionv1.Create && q.Operation != admissionv1.Update || q.SubResource != "" {
		return out
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(q.Object.Raw); err != nil {
		return refuse(out, istio.Diagnostics{{Code: istio.CodeSyntax, Severity: istio.Error, Message: "not an object: " + err.Error()}})
	}
	if u.GetDeletionTimestamp() != nil {
		return out // its finalizers take themselves out: nothing may stand in the way
	}
	set, ds := decode(u)
	ds = analyze.Told(ds, set, nil)
	errs := ds.Errors()
	if len(errs) > 0 && !asBefore(q, u) {
		return refuse(out, errs)
	}
	if len(errs) == 0 && mesh != nil {
		ds = append(ds, analyze.Told(mesh(ctx, set), set, nil)...)
	}
	out.Warnings = warnings(ds)
	return out
}

// decode reads an object as the control plane's source does.
func decode(u *unstructured.Unstructured) (istio.Set, istio.Diagnostics) {
	u.SetManagedFields(nil)
	return istio.DecodeLive(u.Object)
}

// asBefore says whether an update leaves alone what the object says: labels and owners of an object that became wrong, because it is
// older than a rule, may change.
func asBefore(q *admissionv1.AdmissionRequest, u *unstructured.Unstructured) bool {
	old := &unstructured.Unstructured{}
	if q.Operation != admissionv1.Update || old.UnmarshalJSON(q.OldObject.Raw) != nil {
		return false
	}
	return equality.Semantic.DeepEqual(old.Object["spec"], u.Object["spec"])
}

// refuse answers with the errors.
func refuse(out *admissionv1.AdmissionResponse, errs istio.Diagnostics) *admissionv1.AdmissionResponse {
	lines := make([]string, len(errs))
	details := &metav1.StatusDetails{}
	for i, d := range errs {
		lines[i] = d.String()
		details.Causes = append(details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: d.Path, Message: d.Message})
	}
	out.Allowed = false
	out.Result = &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest,
		Message: strings.Join(lines, "\n"), Details: details,
	}
	return out
}

// Bounds of Kubernetes: it cuts warnings off beyond them.
const (
	longest     = 256 // bytes of one warning, if all are more than allTogether
	allTogether = 4096
)

// warnings are what is to be told of an object that is let in.
func warnings(ds istio.Diagnostics) []string {
	ds = slices.Clone(ds)
	ds.Sort()
	var out []string
	size := 0
	for _, d := range ds {
		if d.Severity == istio.Info && d.Code != istio.CodeDeprecated {
			continue // what may be meant
		}
		// kubectl puts "Warning: " before each. An error that is let in is no more than that here.
		if s := strings.TrimPrefix(d.String(), d.Severity.String()+" "); !slices.Contains(out, s) {
			out = append(out, s)
			size += len(s)
		}
	}
	for i, s := range out {
		if size > allTogether && len(s) > longest {
			out[i] = cut(s, longest)
		}
	}
	return out
}

// cut shortens a text to at most n bytes, between characters.
func cut(s string, n int) string {
	const dots = "..."
	n -= len(dots)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + dots
}

// body bounds a question: etcd takes no object of more than 1.5 MiB, and an update has the old one, too.
const body = 8 << 20

// Handler serves Review.
func Handler(mesh Mesh) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, body)).Decode(&review)
		if err == nil && review.Request == nil {
			err = fmt.Errorf("a %s without a request", review.Kind)
		}
		if err != nil {
			http.Error(w, "read AdmissionReview: "+err.Error(), http.StatusBadRequest)
			return
		}
		review.Response, review.Request = Review(r.Context(), review.Request, mesh), nil
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review) // to a client that may have gone
	})
}
