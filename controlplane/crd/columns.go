package crd

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// columnsOf are the columns after NAME of `kubectl get`, those of Istio's definitions; none: AGE alone.
func columnsOf(kind string) []apiextensionsv1.CustomResourceColumnDefinition {
	age := apiextensionsv1.CustomResourceColumnDefinition{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp", Description: "Since when it exists."}
	text := func(name, path, description string) apiextensionsv1.CustomResourceColumnDefinition {
		return apiextensionsv1.CustomResourceColumnDefinition{Name: name, Type: "string", JSONPath: path, Description: description}
	}
	type columns = []apiextensionsv1.CustomResourceColumnDefinition
	switch kind {
	case "VirtualService":
		return columns{text("Gateways", ".spec.gateways", "Where it holds; none: in sidecars."), text("Hosts", ".spec.hosts", "Whose traffic it routes."), age}
	case "DestinationRule":
		return columns{text("Host", ".spec.host", "Whose clients it is for."), age}
	case "ServiceEntry":
		return columns{
			text("Hosts", ".spec.hosts", "The names that it adds to the mesh."), text("Location", ".spec.location", "Inside or outside the mesh."),
			text("Resolution", ".spec.resolution", "How its addresses are found."), age,
		}
	case "WorkloadEntry":
		return columns{age, text("Address", ".spec.address", "Where the workload is.")}
	case "PeerAuthentication":
		return columns{text("Mode", ".spec.mtls.mode", "Whether mutual TLS is required."), age}
	case "AuthorizationPolicy":
		return columns{text("Action", ".spec.action", "What becomes of a request that a rule fits."), age}
	}
	return columns{age}
}

// describe is the sentence that `kubectl explain KIND` begins with.
func describe(kind string) string {
	switch kind {
	case "VirtualService":
		return "Routes the traffic of hosts."
	case "DestinationRule":
		return "Says how clients of a host reach it: load balancing, connections, subsets, TLS."
	case "Gateway":
		return "Opens ports of the gateways that it selects."
	case "ServiceEntry":
		return "Adds hosts to the mesh that are no Kubernetes services."
	case "WorkloadEntry":
		return "One workload that is no pod."
	case "WorkloadGroup":
		return "A template of workloads that are no pods."
	case "Sidecar":
		return "Says what the sidecars of workloads see and listen on."
	case "EnvoyFilter":
		return "Patches the configuration that Envoys are given."
	case "ProxyConfig":
		return "Settings of proxies, taken when they start."
	case "PeerAuthentication":
		return "Says whether workloads take mutual TLS only."
	case "RequestAuthentication":
		return "Says whose JSON Web Tokens workloads take."
	case "AuthorizationPolicy":
		return "Says which requests and connections workloads let in."
	case "Telemetry":
		return "Sets tracing, metrics and access logs of workloads."
	case "WasmPlugin":
		return "Puts a WebAssembly module into proxies."
	case "TrafficExtension":
		return "Puts a WebAssembly module or a Lua script into proxies."
	case rateLimit:
		return "Limits the rate of requests that workloads and gateways let in."
	}
	return ""
}
