package compile

// Codes of diagnostics about how objects fit together. Those of single objects are istio.Code*.
// Those beginning with IST mean what they mean to `istioctl analyze`; MZ05xx are ours.
const (
	codeNotFound        = "IST0101" // what an object names does not exist, or is not visible from its namespace
	codeMeshConflict    = "IST0109" // two VirtualServices claim one host inside the mesh: the older has it to itself
	codeSidecarLabels   = "IST0110" // two Sidecars select one workload: the older counts
	codeSidecars        = "IST0111" // two Sidecars without a selector in one namespace: the older counts
	codePortRequired    = "IST0112" // a destination without a port, by which requests come that its service does not have
	codeNoWorkload      = "IST0127" // a selector that no workload has the labels of
	codeNotInGateway    = "IST0132" // a host that no server of the gateway lets in
	codeEmptySubset     = "IST0173" // a subset whose labels no pod of the service has
	codeClaimRouting    = "IST0149" // a route is chosen by claims where no token is read
	codeUnknownTarget   = "IST0174" // a DestinationRule for a host that no service has
	codePortName        = "IST0118" // a port whose name tells no protocol
	codeGatewayConflict = "IST0145" // two servers of gateways exclude each other on one port of the same pods
	codeCredential      = "IST0161" // a Secret that a gateway names is not there, or holds no certificate for it
	codeTelemetryLabels = "IST0159" // two Telemetries select one workload: the older counts
	codeTelemetries     = "IST0160" // two Telemetries without a selector in one namespace: the older counts
	codeEntryProtocol   = "IST0177" // two ServiceEntries give one port of a host different protocols

	codeAnnotation   = "MZ0501" // one of Mizzen's annotations does not say what it should
	codeHeader       = "MZ0502" // a header that a proxy must not touch
	codeSecondPolicy = "MZ0503" // a second traffic policy for one host: the older counts
	codeSecondPeer   = "MZ0530" // a second PeerAuthentication for the same workloads: the older counts
	codeSecondSubset = "MZ0504" // a second definition of a subset: the older counts
	codeLimitMatch   = "MZ0505" // a condition that a RateLimit does not look at
	codeLimitScope   = "MZ0506" // a global limit without a service to ask
	codeDelegate     = "MZ0510" // a delegate that is not there, or does not fit its root
	codeShared       = "MZ0511" // VirtualServices that share a host at a gateway: their routes are joined
	codeNoMetric     = "MZ0521" // a metric that is not made
	codeAutoAddress  = "MZ0513" // a host for which no address is left
	codeEgressPort   = "MZ0514" // a Sidecar listens where its workload does
	codeTunnel       = "MZ0512" // a tunnel that nothing goes through
	codeTracer       = "MZ0520" // who makes the spans, where it is not who was asked to
	codeAuthTCP      = "MZ0531" // a rule about requests where there are only connections
	codeAuthToken    = "MZ0532" // a rule about tokens where none is read
	codeNobody       = "MZ0533" // a caller whom no workload is
	codePullSecret   = "MZ0540" // an imagePullSecret that holds no Docker configuration
	codeEndpointName = "MZ0507" // an endpoint's address is a name where no name is looked up
)
