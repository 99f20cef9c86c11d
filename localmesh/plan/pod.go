package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Pod is the object that tells the control plane of a running workload. ready is its Ready condition: only then does it
// take traffic.
func (w *Workload) Pod(at Place, ready bool) *corev1.Pod {
	p := newPod(w.Name, w.Namespace, w.Labels, at.PodIP, ready)
	p.Annotations = maps.Clone(w.Annotations)
	p.Spec.ServiceAccountName = w.ServiceAccount()
	if _, said := p.Labels[mesh.LabelTLSMode]; at.Identity && !said { // as Istio's injector does
		p.Labels = maps.Clone(p.Labels)
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[mesh.LabelTLSMode] = mesh.TLSModeIstio
	}
	if w.OwnerKind != "" {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: w.OwnerKind, Name: w.Owner, UID: "local"}}
	}
	for _, c := range w.Spec.Containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports})
	}
	// Ports that only a Service knows, so that they too get an inbound listener.
	declared := map[uint32]bool{}
	for _, c := range w.Spec.Containers {
		for _, port := range c.Ports {
			declared[uint32(port.ContainerPort)] = true
		}
	}
	if len(p.Spec.Containers) == 0 {
		p.Spec.Containers = []corev1.Container{{Name: "app"}}
	}
	for _, port := range w.Ports {
		if !declared[port.Number] {
			p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: int32(port.Number)})
		}
	}
	return p
}

// Pod is the gateway's. bound maps server ports to the ports really bound: both are listed, so that a Service's target
// port may be either.
func (g *Gateway) Pod(address string, bound map[uint32]uint32, ready bool) *corev1.Pod {
	p := newPod(g.PodName(), g.Namespace, g.Labels, address, ready)
	p.Annotations = maps.Clone(g.Annotations)
	p.Spec.ServiceAccountName = g.ServiceAccount()
	c := corev1.Container{Name: "istio-proxy"}
	for _, n := range g.Ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: int32(bound[n])})
	}
	p.Spec.Containers = []corev1.Container{c}
	return p
}

// PodName of the gateway: one replica.
func (g *Gateway) PodName() string { return g.Name + "-0" }

// ServiceAccount of the gateway, named as istioctl's own installation names it: policies that exist speak of
// cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account.
func (g *Gateway) ServiceAccount() string { return g.Name + "-service-account" }

func newPod(name, namespace string, labels map[string]string, ip string, ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}},
		},
	}
}

// PodFile is the name of a pod's file in the state directory. A namespace has no dot, so no two pods share one.
func PodFile(namespace, name string) string { return FileName(namespace+"."+name) + ".yaml" }

// longestFile is short of what file systems take, 255 bytes, by an ending.
const longestFile = 200

// FileName makes a name that a file may have, the same for the same name: of one that is too long the end is a hash.
func FileName(name string) string {
	name = strings.ReplaceAll(name, "/", "-")
	if len(name) <= longestFile {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:longestFile-17] + "-" + hex.EncodeToString(sum[:8])
}
