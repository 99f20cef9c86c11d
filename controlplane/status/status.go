package status

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// The condition is Istio's.
const (
	conditionType   = "Reconciled"
	reasonRejected  = "Rejected"  // its last good state, if there was one, is in force
	reasonNotServed = "NotServed" // a proxy does not take what became of it
)

// verdict is what is to be written about one object. The zero verdict: nothing.
type verdict struct {
	reason, message string // of the condition that it is not reconciled; "" if it is
	messages        []message
}

// message is Istio's AnalysisMessageBase.
type message struct {
	Type             messageType `json:"type"`
	Level            string      `json:"level"`
	DocumentationURL string      `json:"documentationUrl"`
}

type messageType struct {
	Code string `json:"code"`
}

// longest is how many bytes of text a condition has at most.
const longest = 4096

// verdicts sorts diagnostics by the objects that they are about. An object that there is nothing to say of has none.
func verdicts(ds istio.Diagnostics, written func(kind string) bool) map[istio.Ref]verdict {
	by := map[istio.Ref]istio.Diagnostics{}
	for _, d := range ds {
		if written(d.Object.Kind) && d.Object.Name != "" {
			by[d.Object] = append(by[d.Object], d)
		}
	}
	out := make(map[istio.Ref]verdict, len(by))
	for ref, ds := range by {
		out[ref] = verdictOf(ds)
	}
	return out
}

func verdictOf(ds istio.Diagnostics) verdict {
	ds = slices.Clone(ds)
	ds.Sort()
	var v verdict
	var text []string
	for _, d := range ds {
		m := message{messageType{d.Code}, strings.ToUpper(d.Severity.String()), documentation(d.Code)}
		if !slices.Contains(v.messages, m) {
			v.messages = append(v.messages, m)
		}
		if d.Severity == istio.Error {
			if v.reason == "" || v.reason == reasonNotServed {
				v.reason = reasonOf(d.Code)
			}
			d.Object, d.Position = istio.Ref{}, istio.Position{} // the reader knows which it is
			text = append(text, d.String())
		}
	}
	slices.SortFunc(v.messages, func(a, b message) int {
		return cmp.Or(cmp.Compare(rank(a.Level), rank(b.Level)), cmp.Compare(a.Type.Code, b.Type.Code))
	})
	v.message = strings.Join(text, "\n")
	if len(v.message) > longest {
		v.message = strings.ToValidUTF8(v.message[:longest], "") + "..."
	}
	return v
}

func rank(level string) int { return slices.Index([]string{"ERROR", "WARNING", "INFO"}, level) }

// reasonOf tells what proxies say from what the control plane itself does.
func reasonOf(code string) string {
	if strings.HasPrefix(code, "MZ06") {
		return reasonNotServed
	}
	return reasonRejected
}

// documentation is where a code is explained: Istio's codes by Istio.
func documentation(code string) string {
	if strings.HasPrefix(code, "IST") {
		return "https://istio.io/latest/docs/reference/config/analysis/" + strings.ToLower(code) + "/"
	}
	return "https://github.com/mizzen-mesh/mizzen/blob/main/docs/diagnostics.md"
}
