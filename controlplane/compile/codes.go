package compile

// Codes of diagnostics about how objects fit together. Those of single objects are istio.Code*.
// Those beginning with IST mean what they mean to `istioctl analyze`; MZ05xx are ours.
const (
	codeNotFound        = "IST0101" // ReferencedResourceNotFound
	codeMeshConflict    = "IST0109" // ConflictingMeshGatewayVirtualServiceHosts
	codeSidecarLabels   = "IST0110" // ConflictingSidecarWorkloadSelectors
	codeSidecars        = "IST0111" // MultipleSidecarsWithoutWorkloadSelectors
	codePortRequired    = "IST0112" // VirtualServiceDestinationPortSelectorRequired
	codeNoWorkload      = "IST0127" // NoMatchingWorkloadsFound
	codeNotInGateway    = "IST0132" // VirtualServiceHostNotFoundInGateway
	codeEmptySubset     = "IST0173" // DestinationRuleSubsetNotSelectPods
	codeClaimRouting    = "IST0149" // JwtClaimBasedRoutingWithoutRequestAuthN
	codeUnknownTarget   = "IST0174" // UnknownDestinationRuleHost
	codePortName        = "IST0118" // PortNameIsNotUnderNamingConvention
	codeGatewayConflict = "IST0145" // ConflictingGateways
	codeCredential      = "IST0161" // InvalidGatewayCredential
	codeTelemetryLabels = "IST0159" // ConflictingTelemetryWorkloadSelectors
	codeTelemetries     = "IST0160" // MultipleTelemetriesWithoutWorkloadSelectors
	codeEntryProtocol   = "IST0177" // ConflictingServiceEntryProtocol

	codeAnnotation   = "MZ0501" // one of Mizzen's annotations does not say what it should
	codeHeader       = "MZ0502" // a header that a proxy must not touch
	codeSecondPolicy = "MZ0503" // a second traffic policy for one host: the older counts
	codeSecondPeer   = "MZ0530" // a second PeerAuthentication for the same workloads: the older counts
	codeSecondSubset = "MZ0504" // a second definition of a subset: the older counts
	codeLimitMatch   = "MZ0505" // a condition that a RateLimit does not look at
	codeLimitScope   = "MZ0506" // a global limit without a service to ask
	codeDelegate     = "MZ0510" // a delegate that is not there, or does not fit its root
	codeTracer       = "MZ0520" // who makes the spans, where it is not who was asked to
	codeAuthTCP      = "MZ0531" // a rule about requests where there are only connections
	codeAuthToken    = "MZ0532" // a rule about tokens where none is read
	codeNobody       = "MZ0533" // a caller whom no workload is
	codeEndpointName = "MZ0507" // an endpoint's address is a name where no name is looked up
)
