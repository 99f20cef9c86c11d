package listing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// columns are those of a kind after NAME, and their cells.
type columns struct {
	names []string
	cells func(Printer, *istio.Meta) []string
}

// columnsOf are kubectl's of its own kinds and the printed columns of Istio's CRDs.
func columnsOf(kind string) columns {
	switch kind {
	case "VirtualService":
		return columns{[]string{"GATEWAYS", "HOSTS", "AGE"}, func(p Printer, m *istio.Meta) []string {
			s := at(p.Set.VirtualServices, m).Spec
			return []string{list(s.GetGateways()), list(s.GetHosts()), p.age(m)}
		}}
	case "DestinationRule":
		return columns{[]string{"HOST", "AGE"}, func(p Printer, m *istio.Meta) []string {
			return []string{at(p.Set.DestinationRules, m).Spec.GetHost(), p.age(m)}
		}}
	case "ServiceEntry":
		return columns{[]string{"HOSTS", "LOCATION", "RESOLUTION", "AGE"}, func(p Printer, m *istio.Meta) []string {
			s := at(p.Set.ServiceEntries, m).Spec
			return []string{list(s.GetHosts()), s.GetLocation().String(), s.GetResolution().String(), p.age(m)}
		}}
	case "WorkloadEntry":
		return columns{[]string{"AGE", "ADDRESS"}, func(p Printer, m *istio.Meta) []string {
			return []string{p.age(m), at(p.Set.WorkloadEntries, m).Spec.GetAddress()}
		}}
	case "Service":
		return columns{[]string{"TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"}, Printer.service}
	case "Pod":
		return columns{[]string{"READY", "STATUS", "RESTARTS", "AGE"}, Printer.pod}
	case "Deployment":
		return columns{[]string{"READY", "UP-TO-DATE", "AVAILABLE", "AGE"}, func(p Printer, m *istio.Meta) []string {
			wanted, have, ready := p.replicas(m)
			return []string{fmt.Sprintf("%d/%d", ready, wanted), fmt.Sprint(have), fmt.Sprint(ready), p.age(m)}
		}}
	case "StatefulSet":
		return columns{[]string{"READY", "AGE"}, func(p Printer, m *istio.Meta) []string {
			wanted, _, ready := p.replicas(m)
			return []string{fmt.Sprintf("%d/%d", ready, wanted), p.age(m)}
		}}
	case "Namespace":
		return columns{[]string{"STATUS", "AGE"}, func(p Printer, m *istio.Meta) []string { return []string{"Active", p.age(m)} }}
	case "Endpoints":
		return columns{[]string{"ENDPOINTS", "AGE"}, Printer.endpoints}
	case "ConfigMap", "Secret":
		return columns{[]string{"DATA", "AGE"}, func(p Printer, m *istio.Meta) []string { return []string{dataCount(m), p.age(m)} }}
	}
	return columns{[]string{"AGE"}, func(p Printer, m *istio.Meta) []string { return []string{p.age(m)} }}
}

// at finds the object of a list that has the metadata.
func at[T any](objects []*istio.Object[T], m *istio.Meta) *istio.Object[T] {
	for _, o := range objects {
		if o.Ref == m.Ref {
			return o
		}
	}
	return new(istio.Object[T])
}

// list prints as kubectl prints an array: compact JSON, nothing if there is none.
func list(items []string) string {
	if len(items) == 0 {
		return ""
	}
	raw, err := json.Marshal(items)
	if err != nil {
		return strings.Join(items, ",")
	}
	return string(raw)
}

// age is since creation; objects of files are as old as the mesh.
func (p Printer) age(m *istio.Meta) string {
	created := m.CreationTimestamp
	if created.IsZero() && p.State != nil {
		created = p.State.Started
	}
	if created.IsZero() {
		return "<unknown>"
	}
	return shortDuration(p.Now.Sub(created))
}

// shortDuration is kubectl's: two units at most while the first is small.
func shortDuration(d time.Duration) string {
	s := max(0, int(d.Seconds()))
	two := func(a int, ua string, b int, ub string) string {
		if b == 0 {
			return fmt.Sprintf("%d%s", a, ua)
		}
		return fmt.Sprintf("%d%s%d%s", a, ua, b, ub)
	}
	m, h := s/60, s/3600
	switch {
	case s < 120:
		return fmt.Sprintf("%ds", s)
	case m < 10:
		return two(m, "m", s%60, "s")
	case m < 180:
		return fmt.Sprintf("%dm", m)
	case h < 8:
		return two(h, "h", m%60, "m")
	case h < 48:
		return fmt.Sprintf("%dh", h)
	case h < 192:
		return two(h/24, "d", h%24, "h")
	}
	return fmt.Sprintf("%dd", h/24)
}

func (p Printer) service(m *istio.Meta) []string {
	s := at(p.Set.Services, m).Spec
	if s == nil {
		return []string{"", "", "", "", p.age(m)}
	}
	var ports []string
	for _, port := range s.Spec.Ports {
		ports = append(ports, fmt.Sprintf("%d/%s", port.Port, cmp.Or(string(port.Protocol), "TCP")))
	}
	external := "<none>"
	if s.Spec.ExternalName != "" {
		external = s.Spec.ExternalName
	}
	return []string{
		cmp.Or(string(s.Spec.Type), "ClusterIP"), cmp.Or(s.Spec.ClusterIP, "None"), external,
		cmp.Or(strings.Join(ports, ","), "<none>"), p.age(m),
	}
}

func (p Printer) pod(m *istio.Meta) []string {
	o := at(p.Set.Pods, m).Spec
	if o == nil {
		return []string{"", "", "", p.age(m)}
	}
	containers := max(1, len(o.Spec.Containers))
	if p.State != nil {
		for _, w := range p.State.Workloads {
			if w.Name == m.Name && w.Namespace == m.Namespace && w.Proxy != "" {
				containers++ // istio-proxy
			}
		}
	}
	ready, phase := 0, cmp.Or(string(o.Status.Phase), "Pending")
	if isReady(o) {
		ready = containers
	}
	return []string{fmt.Sprintf("%d/%d", ready, containers), phase, "0", p.age(m)}
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// replicas counts what the mesh runs of a Deployment, and what of it takes traffic.
func (p Printer) replicas(m *istio.Meta) (wanted, have, ready int) {
	if o := at(p.Set.Workloads, m).Spec; o != nil {
		wanted = o.Replicas
	}
	for _, o := range p.Set.Pods {
		if o.Namespace != m.Namespace || o.Spec == nil {
			continue
		}
		for _, owner := range o.Spec.OwnerReferences {
			if owner.Kind == m.Kind && owner.Name == m.Name {
				have++
				if isReady(o.Spec) {
					ready++
				}
			}
		}
	}
	return wanted, have, ready
}

func (p Printer) endpoints(m *istio.Meta) []string {
	o := at(p.Set.Endpoints, m).Spec
	var out []string
	if o != nil {
		for _, s := range o.Subsets {
			for _, a := range s.Addresses {
				for _, port := range s.Ports {
					out = append(out, fmt.Sprintf("%s:%d", a.IP, port.Port))
				}
			}
		}
	}
	return []string{cmp.Or(strings.Join(out, ","), "<none>"), p.age(m)}
}

func dataCount(m *istio.Meta) string {
	var o struct {
		Data       map[string]json.RawMessage `json:"data"`
		StringData map[string]json.RawMessage `json:"stringData"`
	}
	if json.Unmarshal(m.Raw, &o) != nil {
		return "0"
	}
	return fmt.Sprint(len(o.Data) + len(o.StringData))
}
