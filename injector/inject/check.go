package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/annotation"
	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// check reads the pod's annotations. A wrong value of one about interception, probes or resources is an error, as in Istio: such a pod
// would not do what was asked for. Other wrong values and unknown names are warned of, and the former dropped.
func (b *build) check() error {
	for _, name := range slices.Sorted(maps.Keys(b.pod.Annotations)) {
		if !annotation.Ours(name) || name == labelInject || name == annotationBind {
			continue
		}
		a, ok := annotation.Find(name)
		switch {
		case !ok:
			b.warnings = append(b.warnings, unknown(name))
			continue
		case !a.On("Pod"):
			b.warn("annotation %s has no effect on a pod: it belongs on %s", name, strings.Join(a.Kinds, ", "))
			continue
		case a.Deprecated && a.Instead != "":
			b.warn("annotation %s is deprecated: %s", name, a.Instead)
		}
		why := a.Value.Check(b.pod.Annotations[name])
		if why == "" {
			why = interfaces(name, b.pod.Annotations[name])
		}
		switch {
		case why == "":
		case refused(name):
			return fmt.Errorf("read annotation %s: %s", name, why)
		default:
			b.warn("annotation %s: %s: it is as if it were not there", name, why)
			delete(b.pod.Annotations, name)
		}
	}
	return nil
}

// unknown says that nobody reads an annotation, and which one may be meant.
func unknown(name string) string {
	whose, known := "Istio", []string{}
	if strings.HasPrefix(name, "mizzen.dev/") {
		whose = "Mizzen"
	}
	for _, a := range annotation.All() {
		known = append(known, a.Name)
	}
	out := fmt.Sprintf("%s has no annotation %q", whose, name)
	if near := nearest.Of(name, known); near != "" {
		out += "; did you mean " + near + "?"
	}
	return out
}

// refused are the annotations with which a pod is not let in if their value is wrong.
func refused(name string) bool {
	for _, prefix := range []string{"traffic.sidecar.istio.io/", "status.sidecar.istio.io/", "readiness.status.sidecar.istio.io/", "sidecar.istio.io/proxyCPU", "sidecar.istio.io/proxyMemory", "sidecar.istio.io/userVolume"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"sidecar.istio.io/interceptionMode", "istio.io/reroute-virtual-interfaces", annotationMergeStats,
	}, name)
}

// interfaces says what is wrong with a list of network interfaces, "" if nothing or if the annotation is no such list.
func interfaces(name, value string) string {
	switch name {
	case "istio.io/reroute-virtual-interfaces", "traffic.sidecar.istio.io/excludeInterfaces", "traffic.sidecar.istio.io/kubevirtInterfaces":
	default:
		return ""
	}
	for _, s := range strings.Split(value, ",") {
		s = strings.TrimSpace(s)
		if len(s) > 15 || strings.ContainsAny(s, " \t\n\"'/\\;{}$`") {
			return fmt.Sprintf("%q is not the name of a network interface", s)
		}
	}
	return ""
}
