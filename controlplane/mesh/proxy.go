package mesh

import "time"

// Proxy is what a proxy is told about itself (Istio's ProxyConfig), as far as it shows in what it gets over xDS. The zero value is
// Istio's defaults.
type Proxy struct {
	// TrustedHops are proxies before a gateway whose entries in x-forwarded-for it believes (gatewayTopology.numTrustedProxies).
	TrustedHops uint32
	// ProxyProtocol: connections to a gateway begin with a PROXY header (gatewayTopology.proxyProtocol).
	ProxyProtocol bool
	// GatewayCert and InboundCert are what a gateway, and a sidecar before its workload, do with x-forwarded-client-cert: Istio's
	// names (SANITIZE, FORWARD_ONLY...); "": SANITIZE_SET and APPEND_FORWARD.
	GatewayCert, InboundCert string
	// CertDetails are the parts of a client's certificate that are written into that header; nil: subject, URI and DNS names.
	CertDetails *CertDetails
	NoRequestID bool // no x-request-id is made
	// Server is written as header server of responses; "": istio-envoy. KeepServer leaves the application's.
	Server         string
	KeepServer     bool
	NoAttemptCount bool // no x-envoy-attempt-count
	NoDebugHeaders bool // no x-envoy-upstream-service-time and its like
	KeepHeaderCase bool // HTTP/1.1 headers go on as they were written
	ForwardedHost  bool // a rewritten host is kept in x-forwarded-host
	ForwardedPort  bool // the port that was asked stands in x-forwarded-port
	Connections    Connections
}

// CertDetails say which parts of a client's certificate are written into x-forwarded-client-cert.
type CertDetails struct{ Subject, Cert, Chain, DNS, URI bool }

// Connections are the limits of connections to a proxy (Istio's ConnectionSettings). 0 and nil: unset.
type Connections struct {
	ListenerBuffer, ClusterBuffer uint32 // bytes
	IdleTimeout                   *time.Duration
	MaxConnectionDuration         time.Duration
	DrainTimeout                  time.Duration
	RequestTimeout                time.Duration
	HeadersTimeout                time.Duration
	StreamIdleTimeout             *time.Duration // nil: none, as in Istio
	MaxStreamDuration             time.Duration
	MaxConcurrentStreams          uint32
	StreamWindow, ConnWindow      uint32 // HTTP/2, bytes
	// Underscores is what becomes of headers with underscores: "REJECT_REQUEST", "DROP_HEADER"; "": they pass.
	Underscores string
	MergeSlash  bool
	// EscapedSlashes is what becomes of %2F and %5C in paths, in Envoy's words: "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT",
	// "UNESCAPE_AND_FORWARD"; "": they stay.
	EscapedSlashes string
}
