package status

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// TestVerdicts: what diagnostics come to in the objects that they are about.
func TestVerdicts(t *testing.T) {
	vs := istio.Ref{Kind: "VirtualService", Namespace: "shop", Name: "a"}
	dr := istio.Ref{Kind: "DestinationRule", Namespace: "shop", Name: "a"}
	said := func(code string, s istio.Severity, ref istio.Ref, path, message string) istio.Diagnostic {
		return istio.Diagnostic{Code: code, Severity: s, Object: ref, Path: path, Message: message, Position: istio.Position{Line: 7}}
	}
	got := verdicts(istio.Diagnostics{
		said("IST0106", istio.Error, vs, "spec.hosts", "hosts is required"),
		said("MZ0301", istio.Warning, vs, "spec.http[0]", "does little"),
		said("MZ0301", istio.Warning, vs, "spec.http[1]", "does little"),
		said("MZ0601", istio.Error, dr, "", `proxy a.shop: Envoy rejected cluster "x"`),
		said("IST0106", istio.Error, istio.Ref{Kind: "Service", Namespace: "shop", Name: "a"}, "", "not ours to write"),
		said("MZ0603", istio.Warning, istio.Ref{}, "", "about no object"),
	}, func(kind string) bool { return kind != "Service" })
	if len(got) != 2 {
		t.Fatalf("verdicts on %v", got)
	}
	if v := got[vs]; v.reason != "Rejected" || v.message != "Error [IST0106] spec.hosts: hosts is required" {
		t.Errorf("reason %q: %s", v.reason, v.message)
	}
	want := []message{
		{messageType{"IST0106"}, "ERROR", "https://istio.io/latest/docs/reference/config/analysis/ist0106/"},
		{messageType{"MZ0301"}, "WARNING", "https://github.com/mizzen-mesh/mizzen/blob/main/docs/diagnostics.md"},
	}
	if v := got[vs]; len(v.messages) != 2 || v.messages[0] != want[0] || v.messages[1] != want[1] {
		t.Errorf("messages %v, want %v", v.messages, want)
	}
	if v := got[dr]; v.reason != "NotServed" || !strings.Contains(v.message, "Envoy rejected") {
		t.Errorf("reason %q: %s", v.reason, v.message)
	}
}

// TestLongMessage: an Envoy that has much to say does not make an object that the API server refuses.
func TestLongMessage(t *testing.T) {
	v := verdictOf(istio.Diagnostics{{Code: "MZ0601", Severity: istio.Error, Message: strings.Repeat("ä", longest)}})
	if len(v.message) > longest+3 || !strings.HasSuffix(v.message, "ä...") {
		t.Errorf("%d bytes, ending in %q", len(v.message), v.message[len(v.message)-8:])
	}
}
