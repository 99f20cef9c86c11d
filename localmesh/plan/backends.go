package plan

import (
	"cmp"
	"slices"
)

// Backends says where a Service leads.
type Backends struct {
	Namespace, Name string
	Ports           map[uint32][]Backend // by the Service's port
}

// Backend is a pod's port.
type Backend struct {
	Pod  string // Workload.Key
	Port uint32
}

// backends finds the workloads behind each Service with a selector.
func (b *builder) backends() []Backends {
	var out []Backends
	for _, s := range b.set.Services {
		to := Backends{Namespace: s.Namespace, Name: s.Name, Ports: map[uint32][]Backend{}}
		for _, w := range b.plan.Workloads {
			if w.Namespace != s.Namespace || len(s.Spec.Spec.Selector) == 0 || !selects(s.Spec.Spec.Selector, w.Labels) {
				continue
			}
			names := w.portNames()
			for _, p := range s.Spec.Spec.Ports {
				if n := target(p, names); n != 0 {
					to.Ports[uint32(p.Port)] = append(to.Ports[uint32(p.Port)], Backend{w.Key(), n})
				}
			}
		}
		out = append(out, to)
	}
	slices.SortFunc(out, func(x, y Backends) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// portNames are the named container ports.
func (w *Workload) portNames() map[string]uint32 {
	out := map[string]uint32{}
	for _, c := range w.Spec.Containers {
		for _, p := range c.Ports {
			out[p.Name] = uint32(p.ContainerPort)
		}
	}
	return out
}
