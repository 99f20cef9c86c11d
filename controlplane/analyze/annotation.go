package analyze

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/annotation"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// annotations tells what Istio says of annotations that are right: given up, or not settled; and which of them nobody reads here.
func (a *analyzer) annotations() {
	for _, m := range a.set.Metas() {
		a.annotationsOf(m, m.Annotations, "metadata.annotations", m.Kind)
	}
	for _, o := range a.set.Workloads {
		a.annotationsOf(&o.Meta, o.Spec.Template.Annotations, "spec.template.metadata.annotations", "PodTemplate")
	}
}

// writtenForUsers are annotations that injectors write, and the one that makes a gateway: no one has chosen to rely on them.
func writtenForUsers(name string) bool {
	return slices.Contains([]string{"sidecar.istio.io/status", "istio.io/rev", "inject.istio.io/templates"}, name)
}

func (a *analyzer) annotationsOf(m *istio.Meta, have map[string]string, path, kind string) {
	for _, name := range slices.Sorted(maps.Keys(have)) {
		x, ok := annotation.Find(name)
		if !ok || !x.On(kind) {
			continue // istio.Decode has said so
		}
		at := fmt.Sprintf("%s[%q]", path, name)
		switch {
		case x.Deprecated:
			a.report(m, at, istio.Info, codeOldNote, "Istio has given "+name+" up", x.Instead)
		case x.Alpha && x.Use == annotation.Injection && !writtenForUsers(name):
			a.report(m, at, istio.Info, codeAlphaNote, "Istio calls "+name+" alpha: it may come to mean something else", "")
		}
		if x.Use == annotation.Unused {
			a.report(m, at, istio.Info, codeNoUse, name+" has no effect here: "+x.Reason, "")
		}
	}
}
