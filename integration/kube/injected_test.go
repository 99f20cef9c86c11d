package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestInjectedCorpus: of every case of the injector's corpus the API server takes what comes out, pods as the controllers of all kinds make
// them.
func TestInjectedCorpus(t *testing.T) {
	c := side(t)
	client, ns := c.Client(t), c.Namespace(t, "corpus", nil)
	kinds := map[string]bool{}
	for _, gc := range golden.Load(t, "../../injector/testdata/inject") {
		s := corpus.Read(t, gc)
		for _, o := range corpus.Objects(t, s.In) {
			raw, err := json.Marshal(corpus.Pod(o))
			if err != nil {
				t.Fatal(err)
			}
			var pod *corev1.Pod
			if err := json.Unmarshal(raw, &pod); err != nil {
				t.Fatal(err)
			}
			if pod == nil || gc.Name == "unknown-fields" {
				continue
			}
			kinds[fmt.Sprint(o["kind"])] = true
			if _, err := accepted(t, client, ns, s.Policy, pod); err != nil {
				t.Errorf("%s: %v", gc.Name, err)
			}
		}
	}
	if len(kinds) < 10 {
		t.Errorf("pods of the kinds %v, want of ten", kinds)
	}
}

// accepted injects a pod and creates both, dry: an error if the API server takes the one that went in and not the one that came out. What
// became of it is "no pod", "left", "refused" or "injected".
func accepted(t *testing.T, client *kubernetes.Clientset, namespace string, policy *inject.Policy, pod *corev1.Pod) (string, error) {
	t.Helper()
	create := func(p *corev1.Pod) error {
		p = p.DeepCopy()
		p.Namespace, p.Spec.ServiceAccountName = namespace, "default" // as admission has it
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	if err := create(pod); err != nil {
		return "no pod", nil
	}
	before := pod.DeepCopy()
	got, err := policy.Inject(inject.Request{Pod: pod, Chosen: true})
	switch {
	case err != nil:
		if !strings.HasPrefix(err.Error(), "read annotation ") && !strings.HasPrefix(err.Error(), "run injection template ") {
			return "", fmt.Errorf("refused for what is no mistake in an annotation or a template: %w", err)
		}
		return "refused", nil
	case got.Pod == nil:
		return "left", nil
	}
	if text(t, before) != text(t, pod) {
		return "", fmt.Errorf("the pod that was asked for was changed:\n%s", golden.Diff(text(t, before), text(t, pod)))
	}
	if err := create(got.Pod); err != nil {
		return "", fmt.Errorf("what comes out is refused: %w\n%s", err, text(t, got.Pod))
	}
	again, err := policy.Inject(inject.Request{Pod: got.Pod, Chosen: true})
	if proxyImage(got.Pod) != "" && (err != nil || again.Pod != nil) {
		return "", fmt.Errorf("what comes out is injected again (%v)", err)
	}
	return "injected", nil
}

func text(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	raw, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestInjectedAtRandom: whatever pod the API server takes, it takes what the injector makes of it, with any policy.
func TestInjectedAtRandom(t *testing.T) {
	c := side(t)
	client, ns := c.Client(t), c.Namespace(t, "random", nil)
	var policies []*inject.Policy
	for _, values := range []string{
		"", "{mizzen: {module: {delivery: imageVolume}}}", "{global: {proxy: {privileged: true, seccompProfile: null}, network: net1}}",
		"{pilot: {cni: {enabled: true}}, global: {proxy: {resources: null}}}", "{global: {proxy: {holdApplicationUntilProxyStarts: true}, imagePullSecrets: [mine, x]}}",
	} {
		p, err := inject.New(nil, []byte(values))
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p, p.With(nil, nil, true))
	}
	became := map[string]int{}
	const pods = 1000
	for seed := range uint64(pods) {
		what, err := accepted(t, client, ns, policies[seed%uint64(len(policies))], corpus.NewRandom(seed).Pod())
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		became[what]++
	}
	t.Logf("%d pods became %v", pods, became)
	if became["injected"] < pods/4 {
		t.Errorf("of %d pods only %d were injected", pods, became["injected"])
	}
}
