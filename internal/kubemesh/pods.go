package kubemesh

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// proxyContainer is what injectors name a proxy's container.
const proxyContainer = "istio-proxy"

// Name takes a user's name of a pod apart: NAME, NAME.NAMESPACE or NAMESPACE/NAME, with "pod/" before it, or with the kind of a workload, for
// one of its pods. kind is "pod" or "deployment", namespace "" if it says none.
func Name(s string) (kind, name, namespace string) {
	kind = "pod"
	for _, k := range [][2]string{{"pod/", "pod"}, {"pods/", "pod"}, {"deploy/", "deployment"}, {"deployment/", "deployment"}, {"deployments/", "deployment"}} {
		if rest, ok := strings.CutPrefix(s, k[0]); ok {
			s, kind = rest, k[1]
		}
	}
	if namespace, name, ok := strings.Cut(s, "/"); ok {
		return kind, name, namespace
	}
	// A pod's name may have dots, a namespace's may not.
	if i := strings.LastIndex(s, "."); i >= 0 {
		return kind, s[:i], s[i+1:]
	}
	return kind, s, ""
}

// Pod finds the pod that a user means, see Name; a beginning that fits one pod only will do.
func (m *Mesh) Pod(ctx context.Context, named string) (*corev1.Pod, error) {
	kind, name, namespace := Name(named)
	if namespace == "" {
		namespace = m.Namespace
	}
	selector := ""
	if kind == "deployment" {
		d, err := m.Client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("find deployment %s.%s: %w", name, namespace, bare(err))
		}
		s, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("find pods of deployment %s.%s: %w", name, namespace, err)
		}
		selector = s.String()
	}
	list, err := m.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list pods of namespace %s: %w", namespace, bare(err))
	}
	pods := list.Items
	if kind == "deployment" {
		return newest(pods, fmt.Errorf("find a pod of deployment %s.%s: none is running", name, namespace))
	}
	if i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == name }); i >= 0 {
		return &pods[i], nil
	}
	begin := slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return !strings.HasPrefix(p.Name, name) })
	switch len(begin) {
	case 1:
		return &begin[0], nil
	case 0:
		return nil, m.noPod(ctx, name, namespace, pods)
	}
	return nil, fmt.Errorf("find pod: %q begins several: %s", named, names(begin))
}

// newest is the pod that runs and was made last.
func newest(pods []corev1.Pod, none error) (*corev1.Pod, error) {
	pods = slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil })
	if len(pods) == 0 {
		return nil, none
	}
	p := slices.MaxFunc(pods, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return &p, nil
}

// noPod says what there is instead: the namespace, a pod of the name elsewhere, the name most like it.
func (m *Mesh) noPod(ctx context.Context, name, namespace string, here []corev1.Pod) error {
	is := fmt.Sprintf("find pod: no pod of namespace %s is named %q", namespace, name)
	if _, err := m.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		is = fmt.Sprintf("find pod %q: there is no namespace %s", name, namespace)
		if all, err := m.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err == nil {
			var known []string
			for _, n := range all.Items {
				known = append(known, n.Name)
			}
			if n := nearest.Of(namespace, known); n != "" {
				return fmt.Errorf("%s; did you mean %s.%s?", is, name, n)
			}
		}
	}
	var known []string
	for _, p := range here {
		known = append(known, p.Name)
	}
	if n := nearest.Of(name, known); n != "" {
		return fmt.Errorf("%s; did you mean %s.%s?", is, n, namespace)
	}
	if all, err := m.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); err == nil {
		for _, p := range all.Items {
			if strings.HasPrefix(p.Name, name) {
				return fmt.Errorf("%s; there is %s.%s", is, p.Name, p.Namespace)
			}
		}
	}
	if len(here) > 0 {
		return fmt.Errorf("%s; there are: %s", is, names(here))
	}
	return fmt.Errorf("%s; add -n NAMESPACE", is)
}

// Proxy is the pod that a user means, if it has a proxy.
func (m *Mesh) Proxy(ctx context.Context, named string) (*corev1.Pod, error) {
	pod, err := m.Pod(ctx, named)
	if err != nil {
		return nil, err
	}
	if !HasProxy(pod) {
		return nil, fmt.Errorf("find proxy: pod %s.%s has no container %s%s", pod.Name, pod.Namespace, proxyContainer, m.withProxy(ctx, pod))
	}
	if pod.Status.Phase != corev1.PodRunning {
		return nil, fmt.Errorf("find proxy: pod %s.%s is not running, it is %s", pod.Name, pod.Namespace, pod.Status.Phase)
	}
	return pod, nil
}

// HasProxy tells whether a pod has a proxy, beside its containers or as a native sidecar.
func HasProxy(pod *corev1.Pod) bool {
	is := func(c corev1.Container) bool { return c.Name == proxyContainer }
	return slices.ContainsFunc(pod.Spec.Containers, is) || slices.ContainsFunc(pod.Spec.InitContainers, is)
}

// withProxy names the pod with a proxy whose name is most like this one's, or says how to get one.
func (m *Mesh) withProxy(ctx context.Context, pod *corev1.Pod) string {
	all, err := m.Client.CoreV1().Pods(pod.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	best, far := "", 0
	for i := range all.Items {
		if p := &all.Items[i]; HasProxy(p) {
			if d := nearest.Distance(p.Name, pod.Name); best == "" || d < far {
				best, far = p.Name, d
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("; one that has is %s.%s", best, pod.Namespace)
	}
	return fmt.Sprintf("; label its namespace istio-injection=enabled and restart it; mizzen check-inject %s.%s says why it has none", pod.Name, pod.Namespace)
}

func names(pods []corev1.Pod) string {
	const most = 12
	var out []string
	for i, p := range pods {
		if i == most {
			return strings.Join(append(out, fmt.Sprintf("%d more", len(pods)-i)), ", ")
		}
		out = append(out, p.Name+"."+p.Namespace)
	}
	return strings.Join(out, ", ")
}

// controlPlaneLabel is that of the chart's control planes.
const controlPlaneLabel, controlPlane, revisionLabel = "app", "mizzen-controlplane", "istio.io/rev"

// ControlPlanes are the control plane's pods that run, of the revision.
func (m *Mesh) ControlPlanes(ctx context.Context) ([]corev1.Pod, error) {
	want := labels.Set{controlPlaneLabel: controlPlane}
	if m.Revision != "" {
		want[revisionLabel] = m.Revision
	}
	list, err := m.Client.CoreV1().Pods(m.System).List(ctx, metav1.ListOptions{LabelSelector: want.String()})
	if err != nil {
		return nil, fmt.Errorf("find the control plane in namespace %s: %w", m.System, bare(err))
	}
	running := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning })
	if len(running) > 0 {
		return running, nil
	}
	return nil, &NoControlPlane{m.elsewhere(ctx)}
}

// NoControlPlane says that none runs where it was looked for, and where there is one.
type NoControlPlane struct{ text string }

// Error implements error.
func (e *NoControlPlane) Error() string { return e.text }

func (m *Mesh) elsewhere(ctx context.Context) string {
	is := "find the control plane: none is running in namespace " + m.System
	if m.Revision != "" {
		is += " with revision " + m.Revision
	}
	all, err := m.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: labels.Set{controlPlaneLabel: controlPlane}.String()})
	if err == nil {
		for _, p := range all.Items {
			if p.Status.Phase == corev1.PodRunning {
				return fmt.Sprintf("%s; there is %s.%s, revision %s: add -i %s --revision %[4]s", is, p.Name, p.Namespace, p.Labels[revisionLabel], p.Namespace)
			}
		}
	}
	return is + "; `mizzen install` installs one, -i NAMESPACE names another"
}

// Answer is what one replica of the control plane said.
type Answer struct {
	// Pod is its name.
	Pod  string
	Body []byte
}

// Ask asks every replica of the control plane for a page. Those that do not answer are told by errs, unless none does: that is err.
func (m *Mesh) Ask(ctx context.Context, path string) (answers []Answer, errs []error, err error) {
	pods, err := m.ControlPlanes(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range pods {
		body, err := m.Get(ctx, &pods[i], Monitoring, path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answers = append(answers, Answer{pods[i].Name, body})
	}
	if len(answers) == 0 {
		return nil, nil, errs[0]
	}
	return answers, errs, nil
}
