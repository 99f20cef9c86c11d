package istio

import corev1 "k8s.io/api/core/v1"

// Stays tells whether an init container runs beside the containers, as Kubernetes has it since native sidecars.
func Stays(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// NamedPorts are the numbers of the ports to which a pod's containers give names, for Services that lead there by name; of two with one
// name the first counts, and those of init containers that stay come last, as in Kubernetes. Nil: there are none.
func NamedPorts(p *corev1.PodSpec) map[string]uint32 {
	var out map[string]uint32
	add := func(ports []corev1.ContainerPort) {
		for _, x := range ports {
			if _, taken := out[x.Name]; taken || x.Name == "" || x.ContainerPort == 0 {
				continue
			}
			if out == nil {
				out = map[string]uint32{}
			}
			out[x.Name] = uint32(x.ContainerPort)
		}
	}
	for i := range p.Containers {
		add(p.Containers[i].Ports)
	}
	for i := range p.InitContainers {
		if Stays(&p.InitContainers[i]) {
			add(p.InitContainers[i].Ports)
		}
	}
	return out
}
