package annotation

import "github.com/mizzen-mesh/mizzen/controlplane/mesh"

// table is what this package knows of annotations: of Istio's only what Istio's own list lacks.
func table() []Annotation {
	return append(append(istioRead(), istioInjection()...), append(istioUnused(), mizzen()...)...)
}

func of(kind ValueKind) Value { return Value{Kind: kind} }

func words(w ...string) Value { return Value{Kind: Word, Words: w} }

func read(name string, v Value, who string) Annotation {
	return Annotation{Name: name, Value: v, Reason: who}
}

func istioRead() []Annotation {
	old := read("sidecar.istio.io/inject", of(Bool), "false: the workload has no sidecar")
	old.Instead = "write it as a label"
	return []Annotation{
		old,
		read("galley.istio.io/analyze-suppress", of(Text), "codes that mizzen analyze does not tell of the object, separated by commas, or *"),
		read("istio.io/autoRegistrationGroup", of(Text), "the WorkloadGroup that a WorkloadEntry belongs to"),
		read("istio.io/dry-run", of(Text), "true: the policy is tried and refuses nothing"),
		read("kubernetes.io/ingress.class", of(Text), "istio: a warning, since an Ingress has no effect"),
		read("networking.istio.io/exportTo", of(Text), "the namespaces that see a Service, separated by commas; . is its own, * all, ~ none"),
	}
}

// istioInjection are those about the sidecar as a container of a pod.
func istioInjection() []Annotation {
	var out []Annotation
	add := func(v Value, what string, names ...string) {
		for _, n := range names {
			out = append(out, Annotation{Name: n, Value: v, Use: Injection, Reason: what})
		}
	}
	add(of(Text), "which templates make the sidecar", "inject.istio.io/templates")
	add(of(Text), "network interfaces, separated by commas", "istio.io/reroute-virtual-interfaces", "traffic.sidecar.istio.io/excludeInterfaces")
	add(of(Text), "the control plane's revision", "istio.io/rev")
	add(of(Bool), "the application's metrics beside the sidecar's", "prometheus.istio.io/merge-metrics")
	add(of(ProxyConfig), "MeshConfig.defaultConfig for one pod", "proxy.istio.io/config")
	add(of(JSON), "written by the injector", "proxy.istio.io/overrides", "sidecar.istio.io/status")
	add(of(Ports), "the readiness probe of the sidecar", "readiness.status.sidecar.istio.io/applicationPorts")
	add(of(Number), "the readiness probe of the sidecar", "readiness.status.sidecar.istio.io/failureThreshold",
		"readiness.status.sidecar.istio.io/initialDelaySeconds", "readiness.status.sidecar.istio.io/periodSeconds")
	add(of(Text), "logs of the agent, scope:level", "sidecar.istio.io/agentLogLevel")
	add(of(LogLevels), "logs of the sidecar", "sidecar.istio.io/componentLogLevel")
	add(of(LogLevel), "logs of the sidecar", "sidecar.istio.io/logLevel")
	add(of(Text), "the sidecar's bootstrap", "sidecar.istio.io/bootstrapOverride")
	add(of(Text), "where the sidecar finds the control plane", "sidecar.istio.io/discoveryAddress")
	add(words("REDIRECT", "TPROXY", "NONE"), "how connections come to the sidecar", "sidecar.istio.io/interceptionMode")
	add(of(Bool), "whether the sidecar is a native one", "sidecar.istio.io/nativeSidecar")
	add(of(Quantity), "the sidecar's resources", "sidecar.istio.io/proxyCPU", "sidecar.istio.io/proxyCPULimit",
		"sidecar.istio.io/proxyMemory", "sidecar.istio.io/proxyMemoryLimit")
	add(of(Text), "the sidecar's image", "sidecar.istio.io/proxyImage")
	add(words("default", "debug", "distroless"), "the sidecar's image", "sidecar.istio.io/proxyImageType")
	add(of(Bool), "whether probes go through the sidecar", "sidecar.istio.io/rewriteAppHTTPProbers")
	add(of(JSON), "volumes of the sidecar", "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount")
	add(of(Port), "the sidecar's status port; 0: none", "status.sidecar.istio.io/port")
	add(of(Ports), "connections that do not come to the sidecar", "traffic.sidecar.istio.io/excludeInboundPorts", "traffic.sidecar.istio.io/excludeOutboundPorts")
	add(of(Ranges), "connections that do not come to the sidecar", "traffic.sidecar.istio.io/excludeOutboundIPRanges")
	add(of(PortsAll), "connections that come to the sidecar", "traffic.sidecar.istio.io/includeInboundPorts", "traffic.sidecar.istio.io/includeOutboundPorts")
	add(of(RangesAll), "connections that come to the sidecar", "traffic.sidecar.istio.io/includeOutboundIPRanges")
	add(of(Text), "network interfaces, separated by commas", "traffic.sidecar.istio.io/kubevirtInterfaces")
	out[len(out)-1].Instead = "write istio.io/reroute-virtual-interfaces"
	stats := func(instead string, v Value, names ...string) {
		add(v, "the sidecar's statistics", names...)
		for i := range names {
			out[len(out)-1-i].Instead = instead
		}
	}
	stats("", of(Duration), "sidecar.istio.io/statsEvictionInterval", "sidecar.istio.io/statsFlushInterval")
	stats("", of(Number), "sidecar.istio.io/statsHistogramBins")
	stats("", of(JSON), "sidecar.istio.io/statsHistogramBuckets")
	stats("take it away: every statistic is made", of(Text), "sidecar.istio.io/statsInclusionPrefixes",
		"sidecar.istio.io/statsInclusionRegexps", "sidecar.istio.io/statsInclusionSuffixes")
	stats("write a Telemetry with tagOverrides", of(Text), "sidecar.istio.io/extraStatTags")
	stats("write proxy.istio.io/config", words("brotli", "gzip", "zstd"), "sidecar.istio.io/statsCompression")
	return out
}

func istioUnused() []Annotation {
	var out []Annotation
	add := func(v Value, why string, names ...string) {
		for _, n := range names {
			out = append(out, Annotation{Name: n, Value: v, Use: Unused, Reason: why})
		}
	}
	add(of(Text), "Mizzen tells callers apart by the service accounts of pods", "alpha.istio.io/canonical-serviceaccounts", "alpha.istio.io/kubernetes-serviceaccounts")
	const ambient = "it is of Istio's ambient mode; in Mizzen every workload has its own proxy"
	add(of(Text), ambient, "ambient.istio.io/redirection", "ambient.istio.io/waypoint-inbound-binding", "networking.istio.io/traffic-distribution")
	add(of(Bool), ambient, "ambient.istio.io/bypass-inbound-capture", "ambient.istio.io/dns-capture")
	add(of(Number), ambient, "istio.io/use-waypoint-canary-weight")
	add(of(Text), "Mizzen makes no Deployments for gateways: write a Deployment whose labels the Gateway selects",
		"gateway.istio.io/controller-version", "gateway.istio.io/name-override", "gateway.istio.io/service-account", "networking.istio.io/service-type")
	add(of(Text), "Istio writes it for itself", "istio.io/connectedAt", "istio.io/disconnectedAt", "istio.io/workloadController")
	add(of(Text), "Mizzen has one cluster", "topology.istio.io/controlPlaneClusters")
	add(of(JSON), "Mizzen has one network: no gateway needs the addresses of nodes", "traffic.istio.io/nodeSelector")
	return out
}

// mizzen are our own. Values that have a grammar are checked where they are read.
func mizzen() []Annotation {
	on := func(name string, v Value, what string, kinds ...string) Annotation {
		return Annotation{Name: "mizzen.dev/" + name, Kinds: kinds, Value: v, Reason: what}
	}
	return []Annotation{
		on("calls", of(Text), "upstreams of the stand-in application", "Pod"),
		on("decision-header", of(Text), "a response header that says which side a request was sent to", "VirtualService"),
		on("deleted", of(Bool), "true: the object takes away the same object of earlier files"),
		on("exec", of(Text), "the command line run as the workload's application", "Pod"),
		on("filters", words(mesh.FilterHosts()...), "what runs the policies in the sidecar", "Pod"),
		on("forward", of(Text), "headers that the stand-in application forwards", "Pod"),
		on("interception", of(JSON), "what `mizzen cni` does in the pod's network; the injector writes it", "Pod"),
		on("lane", of(Text), "the VirtualService starts or follows a lane", "VirtualService"),
		on("steps", of(Text), "weights that change by themselves", "VirtualService"),
		on("sticky", of(Text), "by what a caller stays with one side", "VirtualService"),
		on("tracer", of(Text), "mizzen or envoy: who makes the spans", "Telemetry"),
	}
}
