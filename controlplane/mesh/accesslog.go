package mesh

// Logs is what MeshConfig and the Telemetries say about access logs.
type Logs struct {
	// Default are the providers of proxies that no Telemetry gives any: MeshConfig's defaultProviders, or its accessLogFile.
	Default []*LogProvider
	// Policies are the Telemetries with an accessLogging section, in order of precedence (oldest first, then by name).
	Policies []*LogPolicy
	// Providers are those that are services and may be given to somebody, sorted by name.
	Providers []*LogProvider
}

// LogPolicy is the access logging of one Telemetry; as of TracePolicy the root namespace's, the namespace's and the workload's are taken
// one after the other.
type LogPolicy struct {
	Bearing
	Rules []*LogRule
}

// LogRule is one entry of Telemetry.accessLogging.
type LogRule struct {
	Client, Server bool // the sides that it is about: client is outbound and gateways
	// Named tells whether Providers count, be there none of them; else the rule is about the providers that were there.
	Named     bool
	Providers []*LogProvider
	Disabled  bool
	Filter    string // a CEL expression as Envoy takes it; "": everything is written
}

// LogKind is where lines go.
type LogKind string

// Kinds of log providers.
const (
	LogFile LogKind = "file"
	LogHTTP LogKind = "http-grpc" // Envoy's access log service, of requests
	LogTCP  LogKind = "tcp-grpc"  // and of connections
	LogOTLP LogKind = "otlp"      // OpenTelemetry, over gRPC
)

// LogProvider is one access log provider of MeshConfig, its service resolved.
type LogProvider struct {
	Name string
	Kind LogKind
	Path string // of a LogFile
	// Format is a line in Envoy's format; "": Istio's for LogFile, nothing for LogOTLP. Object says that it is a JSON object of formats.
	Format    string
	Object    bool
	OmitEmpty bool // leave out values that are not there
	// Attributes of LogOTLP: a JSON object of formats; "": none.
	Attributes string
	Hostname   string // FQDN of the service; "" of LogFile
	Port       uint32
	LogName    string // "": Istio's own
	// What LogHTTP and LogTCP send besides.
	FilterState, RequestHeaders, ResponseHeaders, ResponseTrailers []string
	Origin                                                         Origin
}

// AccessLog is one log of a listener.
type AccessLog struct {
	Provider *LogProvider
	Cluster  string // of the provider; "" for a file
	Filter   string // see LogRule
}
