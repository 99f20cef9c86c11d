// Package analyze finds what is odd about a configuration as a whole and changes nothing of what proxies get: habits of a cluster
// that a local mesh does not have, settings that do less than they seem to. What bears on the compiled World is told by
// compile; this is for people who ask, and costs nothing while nobody does.
package analyze

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Findings looks at a Set and at the World that compile made of it. Sorted; what istio.Decode and compile.World say is not in it.
func Findings(set istio.Set, w *mesh.World) istio.Diagnostics {
	a := &analyzer{set: set, world: w}
	a.templates = a.podTemplates()
	a.annotations()
	a.namespaces()
	a.pods()
	a.services()
	a.gateways()
	a.serviceEntries()
	a.destinationRules()
	a.subsets()
	a.failovers()
	a.peers()
	a.virtualServices()
	a.envoyFilters()
	a.telemetries()
	a.diags.Sort()
	return slices.CompactFunc(a.diags, func(x, y istio.Diagnostic) bool { return x == y })
}

// analyzer holds one run.
type analyzer struct {
	set       istio.Set
	world     *mesh.World
	templates []template
	diags     istio.Diagnostics
}

// report adds a diagnostic about one place of an object.
func (a *analyzer) report(m *istio.Meta, path string, sev istio.Severity, code, message, fix string) {
	a.diags = append(a.diags, istio.Diagnostic{
		Code: code, Severity: sev, Object: m.Ref, Position: m.At(path), Path: path, Message: message, Fix: fix,
	})
}

// reportAt is report about the place that a part of the World came from.
func (a *analyzer) reportAt(o mesh.Origin, sev istio.Severity, code, message, fix string) {
	a.diags = append(a.diags, istio.Diagnostic{
		Code: code, Severity: sev, Object: istio.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name},
		Position: istio.Position{File: o.File, Line: o.Line}, Message: message, Fix: fix,
	})
}

// template is what pods are made of: an object's template, or a pod that stands for itself.
type template struct {
	meta        *istio.Meta
	path        string // of the pod within the object: "spec.template." or ""
	labels      map[string]string
	annotations map[string]string
	spec        *corev1.PodSpec
}

// podTemplates leaves out pods that another object made: it is looked at itself.
func (a *analyzer) podTemplates() []template {
	var out []template
	for _, o := range a.set.Workloads {
		t := &o.Spec.Template
		out = append(out, template{&o.Meta, "spec.template.", t.Labels, t.Annotations, &t.Spec})
	}
	for _, o := range a.set.Pods {
		if len(o.Spec.OwnerReferences) == 0 {
			out = append(out, template{&o.Meta, "", o.Labels, o.Annotations, &o.Spec.Spec})
		}
	}
	return out
}

// originAt names a place in a message.
func originAt(o mesh.Origin) string {
	name := o.Kind + " " + o.Namespace + "/" + o.Name
	if p := (istio.Position{File: o.File, Line: o.Line}).String(); p != "" {
		return name + " (" + p + ")"
	}
	return name
}

// objectAt is originAt of an object.
func objectAt(m *istio.Meta) string {
	return originAt(mesh.Origin{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, File: m.Position.File, Line: m.Position.Line})
}
