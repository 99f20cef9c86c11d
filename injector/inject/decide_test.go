package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func policy(t testing.TB, config, values string) *Policy {
	t.Helper()
	p, err := New([]byte(config), []byte(values))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pod(labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "shop", Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}},
	}
}

// TestNamespaces: which injector a namespace and a pod ask for is what the selectors of Istio's webhooks choose (its page "Sidecar
// injection" has the table).
func TestNamespaces(t *testing.T) {
	type labels = map[string]string
	const canary = "{revision: canary, revisionTags: [prod]}"
	for _, c := range []struct {
		what           string
		values         string
		namespace, pod labels
		why            string // "": injected
	}{
		{"enabled", "", labels{"istio-injection": "enabled"}, nil, ""},
		{"enabled, pod says no", "", labels{"istio-injection": "enabled"}, labels{labelInject: "false"}, "says"},
		{"enabled is the default revision's", canary, labels{"istio-injection": "enabled"}, nil, "not this injector's"},
		{"enabled, and a tag makes this one the default", "{revision: canary, revisionTags: [default]}", labels{"istio-injection": "enabled"}, nil, ""},
		{"disabled, pod says yes", "", labels{"istio-injection": "disabled"}, labels{labelInject: "true"}, "istio-injection: disabled"},
		{"of this revision", canary, labels{labelRevision: "canary"}, nil, ""},
		{"of its tag", canary, labels{labelRevision: "prod"}, nil, ""},
		{"of another", canary, labels{labelRevision: "stable"}, nil, "stable"},
		{"of another, pod of this", canary, labels{labelRevision: "stable"}, labels{labelRevision: "canary"}, "stable"},
		{"enabled wins over a revision", "", labels{"istio-injection": "enabled", labelRevision: "canary"}, nil, ""},
		{"pod of this revision", canary, nil, labels{labelRevision: "canary"}, ""},
		{"pod of another", "", nil, labels{labelRevision: "canary"}, "canary"},
		{"pod says yes", "", nil, labels{labelInject: "true"}, ""},
		{"pod says yes, which is the default revision's", canary, nil, labels{labelInject: "true"}, "not this injector's"},
		{"nothing", "", nil, nil, "neither label"},
		{"nothing, all by default", "{sidecarInjectorWebhook: {enableNamespacesByDefault: true}}", nil, nil, ""},
	} {
		got, err := policy(t, "", c.values).Inject(Request{Pod: pod(c.pod), NamespaceLabels: c.namespace})
		if err != nil {
			t.Fatal(err)
		}
		if (got.Pod != nil) != (c.why == "") || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: injected %v, why %q; want %q", c.what, got.Pod != nil, got.Why, c.why)
		}
	}
}

// TestPodSecurity: where a namespace does not let istio-init in, that is told before Kubernetes refuses the pod.
func TestPodSecurity(t *testing.T) {
	ns := map[string]string{"istio-injection": "enabled", "pod-security.kubernetes.io/enforce": "restricted"}
	for values, told := range map[string]bool{"": true, "{pilot: {cni: {enabled: true}}}": false} {
		got, err := policy(t, "", values).Inject(Request{Pod: pod(nil), NamespaceLabels: ns})
		if err != nil || got.Pod == nil {
			t.Fatal(got.Why, err)
		}
		if all := strings.Join(got.Warnings, "; "); strings.Contains(all, "pod security restricted") != told {
			t.Errorf("values %q: warnings %q", values, all)
		}
	}
}

func TestSettingsMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{policy: maybe}": "enabled or disabled",
		"{neverInjectSelector: [{matchExpressions: [{key: a, operator: Is}]}]}": "Selector",
		"{templates: {x: '{{ .Foo'}}":                                           "template x",
		"[":                                                                     "config",
	} {
		if _, err := New([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("config %s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"{mizzen: {nativeSidecars: yes please}}":                  "nativeSidecars",
		"{mizzen: {module: {delivery: pigeon}}}":                  "pigeon",
		"{mizzen: {filters: rust}}":                               "filters",
		"{global: {tag: [1]}}":                                    "want a text",
		"{global: {proxy: {resources: {requests: {cpu: lots}}}}}": "quantit",
	} {
		if _, err := New(nil, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("values %s: %v", text, err)
		}
	}
}
