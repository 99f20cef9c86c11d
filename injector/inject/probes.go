package inject

import (
	"encoding/json"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Prober is how the agent asks an application for kubelet: a value of ISTIO_KUBE_APP_PROBERS, under the path that kubelet asks it by.
type Prober struct {
	HTTPGet        *corev1.HTTPGetAction   `json:"httpGet,omitempty"`
	TCPSocket      *corev1.TCPSocketAction `json:"tcpSocket,omitempty"`
	GRPC           *corev1.GRPCAction      `json:"grpc,omitempty"`
	TimeoutSeconds int32                   `json:"timeoutSeconds,omitempty"` // 0: 1 s, Kubernetes' default
}

// probes sends kubelet's questions to the agent instead of the application: they come without mTLS, and from outside of the mesh.
func (b *build) probes() {
	c := b.sidecarOf()
	on := b.policy.Values.SidecarInjectorWebhook.RewriteAppHTTPProbe
	if said, err := strconv.ParseBool(b.annotation("sidecar.istio.io/rewriteAppHTTPProbers", "")); err == nil {
		on = said
	}
	if c == nil || !on || b.status == 0 {
		return
	}
	all := map[string]Prober{}
	rewrite := func(list []corev1.Container, before bool) {
		for i := range list {
			if list[i].Name != ProxyContainer {
				b.rewrite(&list[i], before, all)
			}
		}
	}
	rewrite(b.pod.Spec.InitContainers, !b.native)
	rewrite(b.pod.Spec.Containers, false)
	if len(all) == 0 {
		return
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return // strings and numbers only
	}
	c.Env = put(c.Env, []corev1.EnvVar{{Name: "ISTIO_KUBE_APP_PROBERS", Value: string(raw)}})
}

// rewrite one container's probes and hooks, and notes what the agent must do. What a container must pass before the agent can be there is
// left.
func (b *build) rewrite(c *corev1.Container, before bool, all map[string]Prober) {
	probe := func(p *corev1.Probe, what string) {
		if p == nil {
			return
		}
		asked := Prober{p.HTTPGet, p.TCPSocket, p.GRPC, p.TimeoutSeconds}
		if get := b.ask(c, what, asked, all); get != nil {
			p.HTTPGet, p.TCPSocket, p.GRPC = get, nil, nil
		}
	}
	hook := func(h *corev1.LifecycleHandler, what string) {
		if h == nil {
			return
		}
		if get := b.ask(c, what, Prober{HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}, all); get != nil {
			h.HTTPGet, h.TCPSocket = get, nil
		}
	}
	probe(c.ReadinessProbe, "readyz")
	probe(c.LivenessProbe, "livez")
	if c.Lifecycle != nil {
		hook(c.Lifecycle.PreStop, "prestopz")
	}
	if before {
		return
	}
	probe(c.StartupProbe, "startupz")
	if c.Lifecycle != nil {
		hook(c.Lifecycle.PostStart, "poststartz")
	}
}

// ask is what kubelet asks from now on; nil: the same as before, since it runs a command, or its port is not known.
func (b *build) ask(c *corev1.Container, what string, p Prober, all map[string]Prober) *corev1.HTTPGetAction {
	get := &corev1.HTTPGetAction{Path: "/app-health/" + c.Name + "/" + what, Port: intstr.FromInt32(b.status)}
	switch {
	case p.HTTPGet != nil:
		at, ok := number(c, p.HTTPGet.Port)
		if !ok || at == b.status {
			return nil
		}
		p.HTTPGet = p.HTTPGet.DeepCopy()
		p.HTTPGet.Port = intstr.FromInt32(at)
		get.Host, get.HTTPHeaders = p.HTTPGet.Host, p.HTTPGet.HTTPHeaders
		if p.HTTPGet.Scheme == corev1.URISchemeHTTP {
			get.Scheme = corev1.URISchemeHTTP
		}
	case p.TCPSocket != nil:
		at, ok := number(c, p.TCPSocket.Port)
		if !ok || at == b.status {
			return nil
		}
		p.TCPSocket = p.TCPSocket.DeepCopy()
		p.TCPSocket.Port = intstr.FromInt32(at)
	case p.GRPC == nil:
		return nil
	}
	all[get.Path] = p
	return get
}

// number resolves a port's name among the container's own, as kubelet does.
func number(c *corev1.Container, p intstr.IntOrString) (int32, bool) {
	if p.Type == intstr.Int {
		return p.IntVal, true
	}
	for _, x := range c.Ports {
		if x.Name == p.StrVal {
			return x.ContainerPort, true
		}
	}
	return 0, false
}
