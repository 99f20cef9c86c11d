package mesh

import "time"

// Settings are mesh-wide (Istio's MeshConfig).
type Settings struct {
	DomainSuffix    string // "cluster.local"
	RootNamespace   string // "istio-system"
	TrustDomain     string // of the identities in certificates: "cluster.local"
	AutoMTLS        bool   // enableAutoMtls, the default: mesh TLS to endpoints that take it, without being asked
	OutboundAny     bool   // outboundTrafficPolicy ALLOW_ANY (the default) rather than REGISTRY_ONLY
	AccessLogFile   string // "" off; "/dev/stdout"
	AccessLogFormat string // "" Istio's default format
	AccessLogJSON   bool   // AccessLogFormat is a JSON object of formats rather than a line (accessLogEncoding JSON)
	ConnectTimeout  time.Duration
	// DetectTimeout is how long a listener waits for a client's first bytes where they tell what the connection is: in some protocols
	// the server speaks first. 0: for ever. Istio's protocolDetectionTimeout.
	DetectTimeout time.Duration
	Locality      *Locality // of hosts whose policy does not say; nil: off
	// DefaultRetries is used by routes without retries; nil means none.
	DefaultRetries *Retries
	// TraceSampling in percent of new traces; nil 100 (the filter's default).
	TraceSampling *float64
	// LimitService counts limits of scope global; nil: each proxy allows its share of them.
	LimitService *LimitService
	// ModuleServer is the "host:port" where proxies fetch the modules of Extensions; "": they cannot.
	ModuleServer string

	// OutboundPort and InboundPort are where intercepted connections reach a proxy (proxyListenPort, proxyInboundListenPort);
	// 0: 15001 and 15006, as Istio's rules of interception have them.
	OutboundPort, InboundPort uint32
	// HTTPProxyPort is where every sidecar serves outbound HTTP as a proxy, besides what its node asks for (proxyHttpPort); 0: nowhere.
	HTTPProxyPort uint32
	// InboundLocalhost: intercepted inbound connections go to 127.0.0.1, not to the address that they were meant for
	// (inboundTrafficPolicy LOCALHOST).
	InboundLocalhost bool
	// DNSRefresh is how often Envoy looks names up (dnsRefreshRate); 0: Envoy's 5 s.
	DNSRefresh time.Duration
	// InboundStat and OutboundStat are the names of clusters in statistics, with Istio's variables (%SERVICE%...); "": the
	// cluster's own.
	InboundStat, OutboundStat string
	// Pool and Outlier are of outbound clusters whose policy has none of its own (defaultTrafficPolicy); nil: Envoy's defaults.
	Pool    *ConnectionPool
	Outlier *Outlier
	// Keepalive is of outbound clusters whose pool has none: only its Keepalive fields count (tcpKeepalive); nil: none.
	Keepalive *ConnectionPool
	// Upgrade: HTTP/1.1 services are spoken to in HTTP/2 unless their pool says otherwise (h2UpgradePolicy UPGRADE).
	Upgrade bool
	// Paths is how the paths of requests are normalised; "": PathsBase.
	Paths PathMode
	// Unverified: servers of TLS whose DestinationRule names no roots are not verified (verifyCertificateAtClient: false).
	Unverified bool
	// MeshTLS is of connections within the mesh, OtherTLS of all others, where nothing else is said; nil: TLS 1.2 and Envoy's own.
	MeshTLS, OtherTLS *TLSParameters
	// Proxy is what proxies are told whose pod says nothing of its own (defaultConfig); nil: all defaults.
	Proxy *Proxy
}

// PathMode is how paths are normalised before anything looks at them (Istio's pathNormalization).
type PathMode string

// Path modes: each does what those before it do. PathsNone leaves paths as they are.
const (
	PathsNone  PathMode = "NONE"
	PathsBase  PathMode = "BASE"                     // /a/../b is /b
	PathsMerge PathMode = "MERGE_SLASHES"            // /a//b is /a/b
	PathsSlash PathMode = "DECODE_AND_MERGE_SLASHES" // /a%2Fb is /a/b
)

// TLSParameters bound what a connection's ends agree on (Istio's TLSConfig).
type TLSParameters struct {
	MinVersion   string // Istio's name (TLSV1_3); "": TLSV1_2
	CipherSuites []string
	Curves       []string // ECDH; not of mesh TLS, as in Istio
}
