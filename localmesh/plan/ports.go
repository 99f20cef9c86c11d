package plan

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// reserved are the ports that a sidecar takes on the workload's address.
var reserved = [...]uint32{15000, 15001, 15006, 15020, 15021, 15090}

// ports are the container ports, and the target ports of the Services that select the workload: a container may listen on
// more than it declares.
func (b *builder) ports(w *Workload) []Port {
	byNumber := map[uint32]Port{}
	names := map[string]uint32{}
	for _, c := range w.Spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol == corev1.ProtocolUDP || p.Protocol == corev1.ProtocolSCTP {
				continue
			}
			n := uint32(p.ContainerPort)
			names[p.Name] = n
			byNumber[n] = Port{Number: n, Name: p.Name, TCP: isTCP(p.Name)}
		}
	}
	for _, s := range b.set.Services {
		if s.Namespace != w.Namespace || len(s.Spec.Spec.Selector) == 0 || !selects(s.Spec.Spec.Selector, w.Labels) {
			continue
		}
		for _, p := range s.Spec.Spec.Ports {
			if n := target(p, names); n != 0 {
				port := byNumber[n]
				protocol := p.Name
				if p.AppProtocol != nil {
					protocol = *p.AppProtocol
				}
				byNumber[n] = Port{Number: n, Name: cmp.Or(port.Name, p.Name), TCP: port.TCP || isTCP(protocol)}
			}
		}
	}
	out := make([]Port, 0, len(byNumber))
	for n, p := range byNumber {
		if !slices.Contains(reserved[:], n) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, c Port) int { return cmp.Compare(a.Number, c.Number) })
	return out
}

// target is the container's port behind a Service's port, 0 if it is named and no container port has the name.
func target(p corev1.ServicePort, names map[string]uint32) uint32 {
	switch {
	case p.Protocol == corev1.ProtocolUDP || p.Protocol == corev1.ProtocolSCTP:
		return 0
	case p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "":
		return names[p.TargetPort.StrVal]
	case p.TargetPort.IntVal != 0:
		return uint32(p.TargetPort.IntVal)
	}
	return uint32(p.Port)
}

// isTCP goes by the name's first part, as Istio's protocol selection does.
func isTCP(name string) bool {
	protocol, _, _ := strings.Cut(strings.ToLower(name), "-")
	switch protocol {
	case "tcp", "redis", "mongo", "mysql", "tls", "https":
		return true
	}
	return false
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
