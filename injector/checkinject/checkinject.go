// Package checkinject says which injectors of a cluster would put a proxy into a pod, and why or why not: `mizzen check-inject`.
package checkinject

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/settings"
)

// Labels that choose an injector, and what an injector leaves behind.
const (
	labelNamespace = "istio-injection"
	labelRevision  = "istio.io/rev"
	labelInject    = "sidecar.istio.io/inject"
	status         = "sidecar.istio.io/status"
)

// Verdict is what one injector would do.
type Verdict struct {
	Webhook  string `json:"webhook"` // the MutatingWebhookConfiguration's name
	Revision string `json:"revision"`
	Injected bool   `json:"injected"`
	Reason   string `json:"reason"`
	yields   bool   // to whoever is asked before, as Mizzen's injectors do
}

// Cluster is where the webhooks are.
type Cluster struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
}

// Check asks every injector of the cluster about a pod, whose namespace is set. Sorted by name.
func (c Cluster) Check(ctx context.Context, pod *corev1.Pod) ([]Verdict, error) {
	pod = fresh(pod)
	ns, err := c.Client.CoreV1().Namespaces().Get(ctx, pod.Namespace, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", pod.Namespace, err)
	}
	all, err := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	out := []Verdict{}
	for i := range all.Items {
		if w := &all.Items[i]; injects(w) {
			out = append(out, c.verdict(ctx, w, ns, pod))
		}
	}
	slices.SortFunc(out, func(a, b Verdict) int { return cmp.Compare(a.Webhook, b.Webhook) })
	first := "" // to inject it: API servers ask one after the other, in this order
	for i := range out {
		switch v := &out[i]; {
		case v.Injected && first != "" && v.yields:
			v.Injected, v.Reason = false, first+" injects it first"
		case v.Injected && first == "":
			first = v.Webhook
		}
	}
	return out, nil
}

// fresh is the pod as it was before an injector had it, as far as one looks.
func fresh(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	delete(pod.Annotations, status)
	return pod
}

// injects tells an injector, Mizzen's or Istio's, by the path of its webhooks.
func injects(w *admissionv1.MutatingWebhookConfiguration) bool {
	return slices.ContainsFunc(w.Webhooks, func(h admissionv1.MutatingWebhook) bool {
		s := h.ClientConfig.Service
		return strings.Contains(h.Name, "sidecar-injector") && s != nil && s.Path != nil && strings.HasPrefix(*s.Path, "/inject")
	})
}

func (c Cluster) verdict(ctx context.Context, w *admissionv1.MutatingWebhookConfiguration, ns *corev1.Namespace, pod *corev1.Pod) Verdict {
	v := Verdict{Webhook: w.Name, Revision: cmp.Or(w.Labels[labelRevision], "default"), yields: strings.HasSuffix(w.Webhooks[0].Name, ".mizzen.dev")}
	chosen := slices.ContainsFunc(w.Webhooks, func(h admissionv1.MutatingWebhook) bool {
		return fits(h.NamespaceSelector, ns.Labels) && fits(h.ObjectSelector, pod.Labels)
	})
	if why := c.policy(ctx, w, v.Revision, inject.Request{Pod: pod, NamespaceLabels: ns.Labels, Chosen: chosen}); why != "" {
		v.Reason = why
		return v
	}
	v.Injected = chosen
	if chosen {
		v.Reason = chose(ns.Labels, pod.Labels)
	} else {
		v.Reason = fmt.Sprintf("neither namespace %s (%s) nor the pod (%s) asks for revision %s", ns.Name, said(ns.Labels), said(pod.Labels), v.Revision)
	}
	return v
}

// policy is why the injector itself would leave the pod alone; "" if it would not, or if it is none whose settings can be read.
func (c Cluster) policy(ctx context.Context, w *admissionv1.MutatingWebhookConfiguration, revision string, r inject.Request) string {
	s := settings.Cluster{
		Client: c.Client, Dynamic: c.Dynamic, Namespace: w.Webhooks[0].ClientConfig.Service.Namespace, Revision: revision,
		Log: slog.New(slog.DiscardHandler),
	}
	p, err := s.Read(ctx)
	if err != nil {
		return ""
	}
	result, err := p.Inject(r)
	if err != nil {
		return err.Error()
	}
	return result.Why
}

func fits(s *metav1.LabelSelector, have map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return s == nil || err == nil && selector.Matches(labels.Set(have))
}

// chose says what made a webhook's selectors fit.
func chose(namespace, pod map[string]string) string {
	for _, l := range []struct {
		who  string
		have map[string]string
		key  string
	}{
		{"namespace", namespace, labelNamespace}, {"namespace", namespace, labelRevision}, {"pod", pod, labelRevision}, {"pod", pod, labelInject},
	} {
		if v, ok := l.have[l.key]; ok {
			return fmt.Sprintf("%s label %s=%s matches", l.who, l.key, v)
		}
	}
	return "every namespace is injected that does not say otherwise"
}

// said are the labels that choose an injector.
func said(have map[string]string) string {
	var out []string
	for _, k := range []string{labelNamespace, labelRevision, labelInject} {
		if v, ok := have[k]; ok {
			out = append(out, k+"="+v)
		}
	}
	if len(out) == 0 {
		return "no label"
	}
	return strings.Join(out, ", ")
}

// Read reads the pod, or the first object with a template of pods, of manifests. namespace is for one that names none.
func Read(in io.Reader, namespace string) (*corev1.Pod, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	for _, part := range strings.Split("\n"+string(text), "\n---") {
		var o struct {
			Kind     string
			Metadata metav1.ObjectMeta
			Spec     struct {
				corev1.PodSpec
				Template    *corev1.PodTemplateSpec
				JobTemplate *struct {
					Spec struct{ Template *corev1.PodTemplateSpec }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(part), &o); err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		t := o.Spec.Template
		if t == nil && o.Spec.JobTemplate != nil {
			t = o.Spec.JobTemplate.Spec.Template
		}
		if o.Kind == "Pod" {
			t = &corev1.PodTemplateSpec{ObjectMeta: o.Metadata, Spec: o.Spec.PodSpec}
		}
		if t != nil {
			pod := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
			pod.Namespace = cmp.Or(o.Metadata.Namespace, namespace)
			return pod, nil
		}
	}
	return nil, fmt.Errorf("read manifest: no pod and no template of pods is in it")
}
