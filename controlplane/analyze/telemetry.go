package analyze

import (
	"fmt"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// telemetries finds access logs that nobody takes.
func (a *analyzer) telemetries() {
	m := a.set.Mesh
	if m != nil && (len(m.Spec.GetDefaultProviders().GetAccessLogging()) > 0 || m.Spec.GetAccessLogFile() != "") {
		return
	}
	for _, o := range a.set.Telemetries {
		for i, l := range o.Spec.GetAccessLogging() {
			if len(l.GetProviders()) == 0 && !l.GetDisabled().GetValue() {
				a.report(&o.Meta, fmt.Sprintf("spec.accessLogging[%d]", i), istio.Warning, codeNoProvider,
					"no provider is named, and MeshConfig has neither defaultProviders.accessLogging nor accessLogFile: nothing is logged",
					"add providers: [{name: envoy}]")
			}
		}
	}
}
