package kube

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/annotation"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// trim leaves of an object what a mesh is made of: a cluster's objects are mostly other things. Called twice it does no more.
func trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Service:
		o.ObjectMeta, o.Status = trimMeta(&o.ObjectMeta), corev1.ServiceStatus{}
	case *discoveryv1.EndpointSlice:
		o.ObjectMeta = trimMeta(&o.ObjectMeta)
	case *corev1.Pod:
		return trimPod(o), nil
	case *corev1.Secret:
		o.ObjectMeta, o.Data = trimMeta(&o.ObjectMeta), trimSecret(o.Data)
	case *corev1.ConfigMap:
		o.ObjectMeta = trimMeta(&o.ObjectMeta)
		o.Data = map[string]string{meshEntry: o.Data[meshEntry]}
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = trimMeta(&o.ObjectMeta)
	}
	return obj, nil
}

// meshEntry is the entry of a ConfigMap with the MeshConfig.
const meshEntry = "mesh"

// trimMeta keeps names, labels, the annotations of ours, and times. The resource version is client-go's to look at.
func trimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	out := metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, ResourceVersion: m.ResourceVersion, Labels: m.Labels,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
	for k, v := range m.Annotations {
		if annotation.Ours(k) {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[k] = v
		}
	}
	return out
}

// trimSecret keeps certificates, keys and access to registries, by the names that Istio gives them.
func trimSecret(data map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for _, k := range []string{"tls.crt", "tls.key", "ca.crt", "ca.crl", "cert", "key", "cacert", "crl", corev1.DockerConfigJsonKey} {
		if v, ok := data[k]; ok {
			out[k] = v
		}
	}
	return out
}

// trimPod keeps where a pod is, who it is, its ports, and whether it is ready.
func trimPod(p *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: trimMeta(&p.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: p.Spec.NodeName, ServiceAccountName: p.Spec.ServiceAccountName, HostNetwork: p.Spec.HostNetwork},
		Status:     corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	for _, c := range p.Spec.Containers {
		if len(c.Ports) > 0 {
			out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Name: c.Name, Ports: c.Ports})
		}
	}
	for _, c := range p.Spec.InitContainers {
		if len(c.Ports) > 0 && istio.Stays(&c) {
			out.Spec.InitContainers = append(out.Spec.InitContainers, corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy})
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return out
}

// same tells whether two versions of an object, trimmed, differ in nothing but their version.
func same(a, b any) bool {
	x, ok := a.(metav1.Object)
	y, too := b.(metav1.Object)
	if !ok || !too {
		return false
	}
	if e, ok := a.(*entry); ok {
		f, ok := b.(*entry)
		return ok && e.sum == f.sum
	}
	return reflect.DeepEqual(versionless(x), versionless(y))
}

// versionless is a copy without the version.
func versionless(o metav1.Object) any {
	v := reflect.New(reflect.TypeOf(o).Elem())
	v.Elem().Set(reflect.ValueOf(o).Elem())
	v.Interface().(metav1.Object).SetResourceVersion("")
	return v.Interface()
}
