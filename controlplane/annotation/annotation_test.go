package annotation

import (
	"testing"

	api "istio.io/api/annotation"
)

// TestEveryAnnotationIsInTheTable: Istio's list has none that this table does not place, and the table none that nobody has.
func TestEveryAnnotationIsInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, x := range api.AllResourceAnnotations() {
		known[x.Name] = true
	}
	seen := map[string]bool{}
	for _, a := range table() {
		if seen[a.Name] {
			t.Errorf("%s stands twice", a.Name)
		}
		seen[a.Name] = true
		if ours := len(a.Name) > 11 && a.Name[:11] == "mizzen.dev/"; !ours && !known[a.Name] {
			t.Errorf("%s: Istio's API has no such annotation", a.Name)
		}
	}
	for _, a := range All() {
		if a.Reason == missing || a.Reason == "" {
			t.Errorf("%s: the table does not say what becomes of it", a.Name)
		}
		if got, ok := Find(a.Name); !ok || got.Name != a.Name {
			t.Errorf("Find(%s) finds %+v", a.Name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, x := range []struct {
		name string
		good []string
		bad  []string
	}{
		{"sidecar.istio.io/inject", []string{"true", "false"}, []string{"yes", ""}},
		{"traffic.sidecar.istio.io/excludeInboundPorts", []string{"", "80", "80, 443"}, []string{"*", "80,x", "0", "70000"}},
		{"traffic.sidecar.istio.io/includeInboundPorts", []string{"*", "80"}, []string{"*,80"}},
		{"traffic.sidecar.istio.io/includeOutboundIPRanges", []string{"*", "10.0.0.0/8,fd00::/8"}, []string{"10.0.0.1"}},
		{"traffic.sidecar.istio.io/excludeOutboundIPRanges", []string{"10.0.0.0/8"}, []string{"*"}},
		{"sidecar.istio.io/proxyCPU", []string{"100m", "0.5", "1Gi", "2e3"}, []string{"1 core", "-1", ""}},
		{"sidecar.istio.io/logLevel", []string{"debug", "warn"}, []string{"loud"}},
		{"sidecar.istio.io/componentLogLevel", []string{"misc:error,rbac:debug"}, []string{"misc", "misc:loud"}},
		{"sidecar.istio.io/interceptionMode", []string{"TPROXY"}, []string{"tproxy"}},
		{"sidecar.istio.io/userVolume", []string{`[{"name":"a"}]`}, []string{"name: a"}},
		{"sidecar.istio.io/statsFlushInterval", []string{"5s"}, []string{"5", "-5s"}},
		{"status.sidecar.istio.io/port", []string{"0", "15021"}, []string{"65536"}},
		{"readiness.status.sidecar.istio.io/periodSeconds", []string{"2"}, []string{"2s"}},
		{"proxy.istio.io/config", []string{"concurrency: 2"}, nil},
	} {
		a, ok := Find(x.name)
		if !ok {
			t.Errorf("%s is not in the table", x.name)
		}
		for _, v := range x.good {
			if why := a.Value.Check(v); why != "" {
				t.Errorf("%s: %q: %s", x.name, v, why)
			}
		}
		for _, v := range x.bad {
			if a.Value.Check(v) == "" {
				t.Errorf("%s: %q passes", x.name, v)
			}
		}
	}
}

func TestOn(t *testing.T) {
	inject, _ := Find("sidecar.istio.io/inject")
	suppress, _ := Find("galley.istio.io/analyze-suppress")
	if !inject.On("Pod") || !inject.On("PodTemplate") || inject.On("Deployment") || !suppress.On("Deployment") {
		t.Error("a pod's annotation belongs on pods and their templates, analyze-suppress anywhere")
	}
	for name, want := range map[string]bool{
		"istio.io/rev": true, "sidecar.istio.io/x": true, "mizzen.dev/x": true, "example.com/x": false, "notistio.io/x": false, "plain": false,
		"install.operator.istio.io/chart-owner": false,
	} {
		if Ours(name) != want {
			t.Errorf("Ours(%s) is %v", name, !want)
		}
	}
}
