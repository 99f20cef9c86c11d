package kube

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Names of ports stay, as a Service may lead to them: a native sidecar's, too; those of other init containers go. Trimmed twice it is the same.
func TestTrimPodKeepsPortNames(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	container := func(name string, port int32, restart *corev1.ContainerRestartPolicy) corev1.Container {
		return corev1.Container{Name: name, Image: name, RestartPolicy: restart, Ports: []corev1.ContainerPort{{Name: name, ContainerPort: port}}}
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		Containers:     []corev1.Container{container("app", 8080, nil), {Name: "none", Image: "none"}},
		InitContainers: []corev1.Container{container("first", 9000, nil), container("front", 9001, &always)},
	}}
	once, want := trimPod(pod), map[string]uint32{"app": 8080, "front": 9001}
	if got := istio.NamedPorts(&once.Spec); !reflect.DeepEqual(got, want) {
		t.Errorf("ports %v, want %v", got, want)
	}
	if n := len(once.Spec.Containers) + len(once.Spec.InitContainers); n != 2 || once.Spec.Containers[0].Image != "" || once.Spec.InitContainers[0].Image != "" {
		t.Errorf("kept %d containers: %+v", n, once.Spec)
	}
	if twice := trimPod(once); !reflect.DeepEqual(twice, once) {
		t.Errorf("trimmed again: %+v, was %+v", twice.Spec, once.Spec)
	}
}
