package run

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/status"
)

// TestNote: what a replica tells its leader comes out as it went in, but for what is too long; errors have room before warnings.
func TestNote(t *testing.T) {
	said := func(s istio.Severity, name, message string) server.Complaint {
		return server.Complaint{Proxy: "a.shop", More: 2, What: istio.Diagnostic{
			Code: "MZ0601", Severity: s, Object: istio.Ref{Kind: "EnvoyFilter", Namespace: "shop", Name: name}, Message: message, Fix: "mend it",
		}}
	}
	one, two := said(istio.Error, "x", "Envoy rejected\tcluster \"x\"\nfor ü"), said(istio.Warning, "x", "is slow")
	nobody := server.Complaint{What: istio.Diagnostic{Code: "MZ0603", Severity: istio.Error, Message: "about no object"}}
	got := complaintsOf([]string{noteOf([]server.Complaint{two, nobody, one}), "{\nno note\n", noteOf(nil)})
	if want := []server.Complaint{one, two}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("heard %v\nwant %v", got, want)
	}

	var many []server.Complaint
	for i := range 1000 {
		many = append(many, said(istio.Warning, fmt.Sprint(i), strings.Repeat("w", 5000)))
	}
	many = append(many, said(istio.Error, "last", "e"))
	note := noteOf(many)
	got = complaintsOf([]string{note})
	if len(note) > status.LongestNote || len(got) < 10 || got[0].What.Message != "e" || len(got[1].What.Message) != longestText+3 {
		t.Errorf("%d bytes with %d complaints, the first %q", len(note), len(got), got[0].What.Message)
	}
}
