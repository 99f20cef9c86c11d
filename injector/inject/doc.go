// Package inject puts Mizzen's sidecar (or a gateway's proxy) into a pod: one pure function from a pod and an installation's policy
// to a pod, which the webhook and `mizzen kube-inject` share. What it decides and writes is what Istio's injector would.
package inject

import "github.com/mizzen-mesh/mizzen/injector/handover"

// Names of containers and volumes that the injector makes. Istio's, so that tools find them.
const (
	ProxyContainer      = "istio-proxy"
	InitContainer       = handover.InitContainer
	ModuleContainer     = "mizzen-module"
	ValidationContainer = handover.ValidationContainer
	moduleVolume        = "mizzen-module"
)

// initNames are all names of init containers that the injector may make, a native sidecar's included.
func initNames() []string {
	return []string{ProxyContainer, InitContainer, ValidationContainer, ModuleContainer}
}

// Program is the agent's file in the proxy's and the module's image, for hooks that run it.
const Program = "/usr/local/bin/mizzen"

// ModuleDir is where a proxy finds Mizzen's dynamic module, libmizzen.so.
const ModuleDir = "/var/lib/mizzen"

// Ports of a sidecar, in Istio's numbers.
const (
	statusPort     = 15020 // the agent: probes, merged metrics
	readinessPort  = 15021 // Envoy's own readiness
	prometheusPort = 15090 // Envoy's own metrics
	outboundPort   = 15001
	inboundPort    = 15006
)

const proxyImage = "proxy" // the chart's name of the proxy's image

const autoImage = "auto" // a user's istio-proxy container that takes the injector's image

// Annotations and labels that are read or written here and are no setting of the sidecar.
const (
	labelInject          = "sidecar.istio.io/inject"
	labelRevision        = "istio.io/rev"
	labelNamespace       = "istio-injection"
	labelName            = "service.istio.io/canonical-name"
	labelVersion         = "service.istio.io/canonical-revision"
	labelWorkload        = "service.istio.io/workload-name"
	labelNetwork         = "topology.istio.io/network"
	labelTLS             = "security.istio.io/tlsMode"
	annotationTemplates  = "inject.istio.io/templates"
	annotationBind       = "sidecar.istio.io/capNetBindService" // in Istio's templates, not in its API
	annotationFilters    = "mizzen.dev/filters"
	annotationImage      = "sidecar.istio.io/proxyImage"
	annotationMergeStats = "prometheus.istio.io/merge-metrics"
)
