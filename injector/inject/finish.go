package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/injector/handover"
)

// label sets one that the pod does not have.
func (b *build) label(name, value string) {
	if b.pod.Labels == nil {
		b.pod.Labels = map[string]string{}
	}
	if _, ok := b.pod.Labels[name]; !ok && value != "" {
		b.pod.Labels[name] = value
	}
}

func (b *build) annotate(name, value string) {
	if b.pod.Annotations == nil {
		b.pod.Annotations = map[string]string{}
	}
	b.pod.Annotations[name] = value
}

// identify gives the labels by which metrics and access logs name the workload, and says which container kubectl means.
func (b *build) identify() {
	first := func(labels ...string) string {
		for _, l := range labels {
			if v := b.pod.Labels[l]; v != "" {
				return v
			}
		}
		return ""
	}
	name := first("app.kubernetes.io/name", "app")
	if name == "" {
		name = labelValue(b.owner.Name)
	}
	b.label(labelName, name)
	version := first("app.kubernetes.io/version", "version")
	if version == "" {
		version = "latest"
	}
	b.label(labelVersion, version)
	b.annotate(labelRevision, b.revision())
	if apps := b.applications(); len(apps) > 0 {
		for _, k := range []string{"kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container"} {
			if _, ok := b.pod.Annotations[k]; !ok {
				b.annotate(k, apps[0])
			}
		}
	}
}

func (b *build) revision() string {
	if r := b.policy.Values.Revision; r != "" {
		return r
	}
	return "default"
}

// labelValue is a name as far as a label takes it: 63 characters, a letter or digit at either end.
func labelValue(name string) string { return strings.Trim(name[:min(len(name), 63)], "-_.") }

// finish is what concerns the pod as a whole, once all its containers are there.
func (b *build) finish() error {
	network := b.policy.Values.Global.Network
	if n := b.asked.Env["ISTIO_META_NETWORK"]; n != "" {
		network = n
	}
	b.label(labelNetwork, network)
	if c := b.sidecarOf(); c != nil && b.pod.Labels[labelNetwork] != "" {
		c.Env = put(c.Env, []corev1.EnvVar{{Name: "ISTIO_META_NETWORK", Value: b.pod.Labels[labelNetwork]}})
	}
	b.metrics()
	b.probes()
	b.secrets()
	b.order()
	b.grow()
	for k, v := range maps.All(b.policy.Config.InjectedAnnotations) {
		b.annotate(k, v)
	}
	b.made.Revision = b.revision()
	raw, err := json.Marshal(b.made)
	if err != nil {
		return fmt.Errorf("write annotation %s: %w", handover.StatusAnnotation, err)
	}
	b.annotate(handover.StatusAnnotation, string(raw))
	return nil
}

// secrets are those that the images need.
func (b *build) secrets() {
	for _, s := range b.policy.Values.Global.ImagePullSecrets {
		ref := corev1.LocalObjectReference{Name: string(s)}
		if s != "" && !slices.Contains(b.pod.Spec.ImagePullSecrets, ref) {
			b.pod.Spec.ImagePullSecrets = append(b.pod.Spec.ImagePullSecrets, ref)
			b.made.ImagePullSecrets = append(b.made.ImagePullSecrets, string(s))
		}
	}
}

// order: what waits for the node is first, so that nothing runs before. A native sidecar is before the user's init containers, so that they are in the mesh, and after interception. Otherwise
// interception comes last, so that init containers still reach the network. The proxy
// follows the applications, so that kubectl means these, unless it holds them back.
func (b *build) order() {
	s := &b.pod.Spec
	defer func() { s.InitContainers = moved(s.InitContainers, b.free(ValidationContainer), true) }()
	hold := b.proxy.GetHoldApplicationUntilProxyStarts().GetValue()
	s.Containers = moved(s.Containers, ProxyContainer, hold)
	if find(s.InitContainers, ProxyContainer) != nil {
		s.InitContainers = moved(s.InitContainers, ProxyContainer, true)
		s.InitContainers = moved(s.InitContainers, b.free(ModuleContainer), true)
		s.InitContainers = moved(s.InitContainers, b.free(InitContainer), true)
		return
	}
	s.InitContainers = moved(s.InitContainers, b.free(ModuleContainer), true)
	s.InitContainers = moved(s.InitContainers, b.free(InitContainer), false)
}

// moved brings a container to the front or to the end.
func moved(list []corev1.Container, name string, front bool) []corev1.Container {
	i := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return list
	}
	c := list[i]
	list = slices.Delete(list, i, i+1)
	if front {
		return slices.Insert(list, 0, c)
	}
	return append(list, c)
}
