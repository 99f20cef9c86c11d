package analyze

// Codes of what is odd about a configuration as a whole. Those beginning with IST mean what they mean to `istioctl analyze`; MZ07xx
// are ours.
const (
	codeNotInjected   = "IST0102" // a namespace whose pods get no proxy in a cluster; the local mesh gives them one
	codeNoProxy       = "IST0103" // a pod without a proxy in a namespace whose pods are to have one
	codeManyServices  = "IST0116" // two Services speak different protocols to one port of the same pods
	codeTwoLabels     = "IST0123" // a namespace with both labels that ask for injection
	codeUnverified    = "IST0128" // TLS to a server whose certificate, or the name in it, nobody looks at
	codeUnverifiedOn  = "IST0129" // the same on one port
	codeNoAddresses   = "IST0134" // a TCP port of a ServiceEntry without addresses takes every connection of that number
	codeOldNote       = "IST0135" // an annotation that Istio has given up
	codeAlphaNote     = "IST0136" // an annotation that Istio calls alpha: it may come to mean something else
	codeTwoPorts      = "IST0137" // two Services lead to one port of the same pods from different ports of their own
	codeSharedSecret  = "IST0138" // two Gateways of the same pods offer one certificate: a client's HTTP/2 connection serves both hosts
	codeGatewayRules  = "IST0140" // rules for the mesh that requests of a gateway do not follow
	codeProxyUser     = "IST0144" // an application that runs as the proxy's user: its connections are not intercepted
	codeAutoImage     = "IST0146" // a template with image auto where nothing puts the proxy's image in its place
	codeAutoImagePod  = "IST0147" // a pod with image auto where nothing puts the proxy's image in its place
	codeExternalPort  = "IST0150" // a port of an ExternalName Service whose name tells no protocol, or TCP
	codeRelative      = "IST0151" // a patch that looks for what another EnvoyFilter brings, and nothing says which comes first
	codeRelativeProxy = "IST0155" // the same of a patch for some proxy versions
	codeNoProvider    = "IST0157" // access logs are asked for, and nobody is named to take them
	codeGatewayPort   = "IST0162" // a gateway listens on a port that no Service of its pods leads to

	codeNoUse          = "MZ0701" // an annotation that nobody reads here
	codeDeadSubset     = "MZ0702" // a subset with a policy of its own that no route names
	codeNoFailover     = "MZ0703" // failover without outlierDetection, which alone tells that a place has failed
	codePort80         = "MZ0704" // a VirtualService in the mesh for a host that no service has: it is in force on port 80 only
	codeRefused        = "MZ0705" // a DestinationRule's TLS mode that the workloads' PeerAuthentication refuses
	codeGatewayMeeting = "MZ0706" // servers that a Service leads to one port of the gateway's pods and that cannot share it: the older counts
)
