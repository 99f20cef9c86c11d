package inject

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/mizzen-mesh/mizzen/injector/handover"
)

// decision about a pod: why it is left alone, "" if it is injected.
type decision struct {
	why      string
	warnings []string
}

func leave(why string) decision { return decision{why: why} }

// decide says whether a pod is injected. What forbids comes first, then the namespace's and the pod's choice of a revision, then what
// the pod says, then selectors and the policy.
func (p *Policy) decide(r Request) decision {
	pod := r.Pod
	switch {
	case Injected(pod):
		return leave("it is injected already")
	case pod.Spec.HostNetwork:
		return leave("it is on the host's network")
	case pod.Annotations[corev1.MirrorPodAnnotationKey] != "":
		return leave("it is a node's own, which Kubernetes only mirrors")
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows:
		return leave("it is a Windows pod")
	case slices.Contains(systemNamespaces(), pod.Namespace):
		return leave("namespace " + pod.Namespace + " is Kubernetes' own")
	}
	said, warnings := says(pod)
	if said == "false" {
		return decision{"it says " + labelInject + ": false", warnings}
	}
	if !r.Chosen {
		if why := p.notOurs(r, said == "true"); why != "" {
			return decision{why, warnings}
		}
	}
	return decision{p.selected(pod, said), warnings}
}

// systemNamespaces are never injected, as in Istio.
func systemNamespaces() []string {
	return []string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
}

// Injected tells whether a pod has a proxy from an injector, Mizzen's or Istio's.
func Injected(pod *corev1.Pod) bool {
	text, ok := pod.Annotations[handover.StatusAnnotation]
	var status map[string]any
	if !ok || json.Unmarshal([]byte(text), &status) != nil {
		return false
	}
	return find(pod.Spec.Containers, ProxyContainer) != nil || find(pod.Spec.InitContainers, ProxyContainer) != nil
}

// says is what a pod says of its own injection: "true", "false" or "". Its label wins over its annotation.
func says(pod *corev1.Pod) (string, []string) {
	v, ok := pod.Labels[labelInject]
	if !ok {
		v = pod.Annotations[labelInject]
	}
	switch v {
	case "true", "false", "":
		return v, nil
	}
	return "", []string{fmt.Sprintf("%s: want true or false, got %q: it is as if it were not there", labelInject, v)}
}

// notOurs says why neither the namespace nor the pod asks for this injector, "" if one does. It is the selectors of Istio's webhooks.
func (p *Policy) notOurs(r Request, asks bool) string {
	ours := func(revision, who string) string {
		if slices.Contains(p.revisions(), revision) {
			return ""
		}
		return fmt.Sprintf("%s is of revision %s, which is not this injector's", who, revision)
	}
	namespace := "namespace " + r.Pod.Namespace
	injection, rev := r.NamespaceLabels[labelNamespace], r.NamespaceLabels[labelRevision]
	own := r.Pod.Labels[labelRevision]
	switch {
	case injection == "enabled":
		return ours("default", namespace)
	case injection != "":
		return namespace + " has label " + labelNamespace + ": " + injection
	case rev != "":
		return ours(rev, namespace)
	case own != "":
		return ours(own, "the pod")
	case asks || p.Values.SidecarInjectorWebhook.EnableNamespacesByDefault:
		return ours("default", "the pod")
	}
	return namespace + " has neither label " + labelNamespace + " nor " + labelRevision
}

// revisions are the names that this injector answers to. One without a revision is the default.
func (p *Policy) revisions() []string {
	if p.Values.Revision == "" {
		return append([]string{"default"}, p.Values.RevisionTags...)
	}
	return append([]string{p.Values.Revision}, p.Values.RevisionTags...)
}

// selected is the decision about a pod whose namespace is chosen.
func (p *Policy) selected(pod *corev1.Pod, said string) string {
	if said == "true" {
		return ""
	}
	if matches(p.Config.NeverInjectSelector, pod) {
		return "neverInjectSelector fits its labels"
	}
	if p.Config.Policy == "disabled" && !matches(p.Config.AlwaysInjectSelector, pod) {
		return "the policy is disabled and it does not say " + labelInject + ": true"
	}
	return ""
}

// matches: an empty selector fits nothing, as in Istio.
func matches(selectors []metav1.LabelSelector, pod *corev1.Pod) bool {
	for i := range selectors {
		s, err := metav1.LabelSelectorAsSelector(&selectors[i])
		if err == nil && !s.Empty() && s.Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}

// find returns a container by its name, nil if there is none.
func find(list []corev1.Container, name string) *corev1.Container {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}
