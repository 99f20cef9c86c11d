package analyze

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Labels that ask for a sidecar, of namespaces and of pods.
const (
	labelInjection = "istio-injection"
	labelRevision  = "istio.io/rev"
	labelInject    = "sidecar.istio.io/inject"
	proxyContainer = "istio-proxy"
	proxyUser      = 1337 // of the sidecar's container, whose connections are let through
)

// namespaces checks the labels by which a cluster's injector goes.
func (a *analyzer) namespaces() {
	for _, o := range a.set.Namespaces {
		_, plain := o.Labels[labelInjection]
		_, revision := o.Labels[labelRevision]
		_, mode := o.Labels["istio.io/dataplane-mode"]
		switch {
		case plain && revision:
			a.report(&o.Meta, "metadata.labels", istio.Warning, codeTwoLabels,
				fmt.Sprintf("both %s and %s: the first one counts, as in Istio", labelInjection, labelRevision), "keep one")
		case !plain && !revision && !mode && !a.systemNamespace(o.Name) && a.hasPods(o.Name):
			a.report(&o.Meta, "metadata.labels", istio.Info, codeNotInjected,
				"the namespace does not ask for sidecars: in a cluster its pods get none, while the local mesh gives each its own",
				"add label "+labelInjection+": enabled, or disabled if that is meant")
		}
	}
}

func (a *analyzer) systemNamespace(name string) bool {
	return slices.Contains([]string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage", a.world.Settings.RootNamespace}, name)
}

func (a *analyzer) hasPods(namespace string) bool {
	return slices.ContainsFunc(a.templates, func(t template) bool { return t.meta.Namespace == namespace })
}

// pods checks what is to have a sidecar.
func (a *analyzer) pods() {
	for _, t := range a.templates {
		if !optedOut(t.labels, t.annotations) {
			a.proxyUsers(t)
		}
		a.autoImage(t)
	}
	for _, o := range a.set.Pods {
		a.missingProxy(o)
	}
}

func optedOut(labels, annotations map[string]string) bool {
	return labels[labelInject] == "false" || labels[labelInject] == "" && annotations[labelInject] == "false"
}

// proxyUsers: what runs as the proxy's user is taken for the proxy by the interception.
func (a *analyzer) proxyUsers(t template) {
	is := func(user *int64) bool { return user != nil && *user == proxyUser }
	const fix = "let it run as another user"
	application := slices.ContainsFunc(t.spec.Containers, func(c corev1.Container) bool { return c.Name != proxyContainer }) // else it is a gateway
	if s := t.spec.SecurityContext; s != nil && is(s.RunAsUser) && application {
		a.report(t.meta, t.path+"spec.securityContext.runAsUser", istio.Warning, codeProxyUser,
			"user 1337 is the sidecar's: connections of the application would not come to it", fix)
		return
	}
	for i, c := range t.spec.Containers {
		if c.Name != proxyContainer && c.SecurityContext != nil && is(c.SecurityContext.RunAsUser) {
			a.report(t.meta, fmt.Sprintf("%sspec.containers[%d].securityContext.runAsUser", t.path, i), istio.Warning, codeProxyUser,
				"user 1337 is the sidecar's: connections of container "+c.Name+" would not come to it", fix)
		}
	}
}

// autoImage: image auto is a place for the injector to fill in.
func (a *analyzer) autoImage(t template) {
	for i, c := range t.spec.Containers {
		if c.Image != "auto" || a.injected(t) {
			continue
		}
		sev, code := istio.Warning, codeAutoImage
		if t.meta.Kind == "Pod" {
			sev, code = istio.Error, codeAutoImagePod
		}
		a.report(t.meta, fmt.Sprintf("%sspec.containers[%d].image", t.path, i), sev, code,
			"image auto stands for the proxy's, and neither the pod nor its namespace asks for injection: no such image can be pulled",
			fmt.Sprintf("add label %s: \"true\" to the pod", labelInject))
	}
}

// injected tells whether a pod gets a sidecar in a cluster, as far as is known: true of a namespace that no object describes.
func (a *analyzer) injected(t template) bool {
	switch {
	case optedOut(t.labels, t.annotations):
		return false
	case t.labels[labelInject] == "true" || t.labels[labelInject] == "" && t.annotations[labelInject] == "true" || t.labels[labelRevision] != "":
		return true
	}
	ns := a.namespace(t.meta.Namespace)
	return ns == nil || ns.Labels[labelInjection] == "enabled" || ns.Labels[labelInjection] == "" && ns.Labels[labelRevision] != ""
}

func (a *analyzer) namespace(name string) *istio.Object[*corev1.Namespace] {
	for _, o := range a.set.Namespaces {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// missingProxy looks at pods that run: what only describes them has no proxy yet.
func (a *analyzer) missingProxy(o *istio.Object[*corev1.Pod]) {
	ns := a.namespace(o.Namespace)
	t := template{meta: &o.Meta, labels: o.Labels, annotations: o.Annotations}
	if o.Spec.Status.PodIP == "" || o.Labels[mesh.LabelTLSMode] == mesh.TLSModeIstio || ns == nil || !a.injected(t) {
		return
	}
	for _, r := range o.Spec.OwnerReferences {
		if r.UID == "local" { // the local mesh's own: its proxy is no container
			return
		}
	}
	has := func(c corev1.Container) bool { return c.Name == proxyContainer }
	if !slices.ContainsFunc(o.Spec.Spec.Containers, has) && !slices.ContainsFunc(o.Spec.Spec.InitContainers, has) {
		a.report(&o.Meta, "spec.containers", istio.Warning, codeNoProxy,
			fmt.Sprintf("namespace %s asks for sidecars, and the pod has none: it is older than the label, or the injector was away", o.Namespace),
			"restart it")
	}
}
