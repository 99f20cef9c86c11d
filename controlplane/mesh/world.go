// Package mesh is the model between Istio's API and Envoy's: what the YAML means once names are resolved. Structs only;
// it knows no Istio, Kubernetes or Envoy type. Values are immutable once built: share them, never change them.
package mesh

import (
	"time"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// Origin is the YAML object and line that a part came from: what a NACK, a diagnostic or `explain` names.
type Origin struct {
	Kind, Namespace, Name string
	File                  string // "" if the object came from an API server
	Line                  int    // 1-based; 0 unknown
}

// World is everything that the configuration says, for all proxies. One value per generation.
type World struct {
	Settings  Settings
	Services  []*Service // sorted by Hostname, then Namespace
	Workloads []*Workload
	Rules     []*HostRules // VirtualServices, one per object, in precedence order (oldest first, then by name)
	Policies  []*Policy    // DestinationRules, merged per host and namespace
	Gateways  []*Gateway
	Sidecars  []*Sidecar
	Limits    []*LimitPolicy // RateLimits
	Peers     []*PeerPolicy  // PeerAuthentications, the oldest first
	Secrets   []*Secret      // those that Gateways name, sorted by namespace, then name
	Authz     *Authz         // nil: no AuthorizationPolicy, no RequestAuthentication
	Tracing   *Tracing       // nil: nobody says anything about it
	Logs      *Logs          // nil: there are no access logs
	Metrics   *Metrics       // nil: Istio's standard metrics are not made
	// Filters are the EnvoyFilters, in the order in which they are applied: those of the root namespace first.
	Filters []*EnvoyFilter
	// Extensions are the WasmPlugins and TrafficExtensions, in the order in which they stand in a phase.
	Extensions []*Extension
	Modules    []*Module // that Extensions run, sorted by Key
	// Endpoints by Service: see EndpointKey. Kept apart so that an endpoint change rebuilds nothing else.
	Endpoints map[EndpointKey][]*Endpoint
}

// LimitService is the rate-limit service: a service of the World if Hostname is set, else whatever listens at Address.
type LimitService struct {
	Hostname, Namespace string
	Address             string        // IP address or name
	Port                uint32        // service port if Hostname is set
	Timeout             time.Duration // of a call; 0: the filter's default
}

// Protocol of a port.
type Protocol string

// Protocols, as Istio names them. HTTP covers HTTP/1.1 and, on inbound, h2c.
const (
	HTTP  Protocol = "HTTP"
	HTTP2 Protocol = "HTTP2"
	GRPC  Protocol = "GRPC"
	HTTPS Protocol = "HTTPS"
	TLS   Protocol = "TLS"
	TCP   Protocol = "TCP"
	// Detected: nothing tells. A connection's first bytes do: HTTP of any version, or what is to go on as it came. Istio calls
	// it unsupported, or auto.
	Detected Protocol = "AUTO"
)

// IsHTTP tells whether requests on the port are routed by HTTP routes.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC || p == Detected }

// IsBytes tells whether connections to the port may be something else than HTTP.
func (p Protocol) IsBytes() bool { return !p.IsHTTP() || p == Detected }

// Resolution says how a service's endpoints are found.
type Resolution uint8

// Resolutions. Registry and Static come over EDS; DNS by Envoy; None is the address that the caller asked for.
const (
	ResolutionRegistry      Resolution = iota // Kubernetes Service: pods or EndpointSlices, over EDS
	ResolutionStatic                          // ServiceEntry STATIC, over EDS
	ResolutionDNS                             // ServiceEntry DNS: STRICT_DNS
	ResolutionDNSRoundRobin                   // ServiceEntry DNS_ROUND_ROBIN: LOGICAL_DNS
	ResolutionNone                            // ServiceEntry NONE: ORIGINAL_DST
	ResolutionDynamicDNS                      // ServiceEntry DYNAMIC_DNS: the request's own host, looked up by Envoy
)

// Service is one host name with its ports: a Kubernetes Service or one host of a ServiceEntry.
type Service struct {
	Hostname  string // FQDN ("reviews.default.svc.cluster.local"), or an external host, perhaps "*.example.com"
	Namespace string
	ShortName string   // Kubernetes Service name; "" for a ServiceEntry
	Addresses []string // cluster IPs or ServiceEntry addresses; may be empty
	// Auto are the addresses that a host of a ServiceEntry without any is given, IPv4 and IPv6, so that its connections can be told
	// from others; nil: none.
	Auto       []string
	Ports      []*Port
	Resolution Resolution
	External   bool              // ServiceEntry MESH_EXTERNAL
	Selector   map[string]string // for inbound: which workloads it selects; nil for none
	Visibility Visibility
	// SANs are names that a certificate of the service may have (ServiceEntry.subjectAltNames), where its DestinationRule
	// names none.
	SANs []string
	// DNSEndpoints for ResolutionDNS*: address (host name or IP), sorted; the hostname itself if the entry lists none.
	DNSEndpoints []*Endpoint
	// Created is when the object was; zero: unknown.
	Created time.Time
	// Literal: a gateway's server is bound on its own port, even if it is one of this service's (Istio's label
	// experimental.istio.io/disable-gateway-port-translation).
	Literal bool
	Origin  Origin
}

// Port of a service.
type Port struct {
	Number     uint32
	Name       string
	Protocol   Protocol
	TargetPort uint32 // workload's port; Number if not given; 0 if it is TargetName
	TargetName string // named container port; resolved per workload
}

// Visibility is exportTo: nil means everywhere; else namespaces ("." is resolved to the object's own).
type Visibility map[string]bool

// In tells whether a namespace sees it.
func (v Visibility) In(namespace string) bool { return v == nil || v[namespace] }

// Workload is a running instance: a Pod, or a WorkloadEntry.
type Workload struct {
	Name, Namespace string
	Address         string
	Others          []string // further addresses, of the other family: a dual-stack pod's
	Labels          map[string]string
	Ports           map[string]uint32 // named ports
	Entry           bool              // a WorkloadEntry: its Ports are named by the services' ports, see Port.On
	ServiceAccount  string
	Ready           bool
	Draining        bool   // it ends, and still answers: no new requests, but those that are bound to it
	Locality        string // region/zone/subzone
	Weight          uint32
	Proxy           *Proxy // what its pod says of its proxy, over the mesh's; nil: nothing
	Origin          Origin
}

// EndpointKey names the endpoints of one service port.
type EndpointKey struct {
	Hostname  string
	Namespace string
	Port      uint32 // service port number
}

// Endpoint is one address behind a service port.
type Endpoint struct {
	Address  string
	Port     uint32
	Labels   map[string]string // for subsets
	Weight   uint32            // 0: unset
	Ready    bool
	Draining bool
	Locality string
	Workload string // "name.namespace" if known
	// TLS: the endpoint's proxy accepts mesh mTLS (Istio's label security.istio.io/tlsMode=istio, and no PeerAuthentication
	// that disables it). ServiceAccount is whose identity to expect there; "": unknown.
	TLS            bool
	ServiceAccount string
}

// HostRules is one VirtualService, its hosts resolved to FQDNs.
type HostRules struct {
	Namespace, Name string
	Hosts           []string
	Gateways        []string // "mesh" or "namespace/name", never empty
	Visibility      Visibility
	Routes          []*Route
	TCP, TLS        []*L4Route // a rule without Routes says nothing about HTTP
	// Canary is set if Mizzen's canary decides among the routes: see Choice in Route. Nil: Envoy's own matching does.
	// The view fills in the rules from Routes; this holds stickiness, response header and lane.
	Canary *canary.Config
	Origin Origin
}

// Sidecar is one Sidecar resource.
type Sidecar struct {
	Namespace, Name string
	Selector        map[string]string // nil: the whole namespace
	Egress          []EgressHost      // nil: everything visible
	// Listeners are those that its egress describes by address, in place of the ones that services' ports ask for.
	Listeners []*EgressListener
	// Ingress are the workload's ports in place of those that services lead to; nil: the services'.
	Ingress []*Ingress
	// InboundPool limits connections to the workload, in place of its DestinationRule; nil: that.
	InboundPool *ConnectionPool
	// EgressProxy gets what no service takes; nil: it goes where the caller meant it to go.
	EgressProxy *Destination
	OutboundAny *bool // nil: the mesh's
	Origin      Origin
}

// EgressHost is "namespace/host" of a Sidecar's egress; both may be "*", Namespace may be "~" (none).
type EgressHost struct {
	Namespace, Host string
	Port            uint32 // 0: all
}

// EgressListener is where a workload's own requests come in, as its Sidecar describes it (egress with bind or captureMode NONE).
type EgressListener struct {
	Port     uint32 // 0: Bind is a Unix socket
	Protocol Protocol
	// Bind is an IP address, or "unix:///path", "unix://@name"; "": the workload's own loopback.
	Bind string
	// Own: the listener is bound by itself where connections are intercepted too (captureMode NONE, and every Unix socket).
	Own    bool
	Hosts  []EgressHost // of a Unix socket: what it leads to
	Origin Origin
}

// Ingress is one port of a workload as its Sidecar describes it.
type Ingress struct {
	Port     uint32
	Name     string
	Protocol Protocol
	// Bind is the address that is bound, and Own says that the port is bound where connections are intercepted too (captureMode
	// NONE); "": the workload's.
	Bind string
	Own  bool
	// Target is where the application listens: "127.0.0.1:8080", "0.0.0.0:8080" (the workload's address), "unix:///path"; "": on the
	// same port.
	Target string
	Pool   *ConnectionPool // nil: the Sidecar's
	Origin Origin
}

// LimitPolicy is one RateLimit resource and the proxies that enforce it.
type LimitPolicy struct {
	Namespace, Name string
	Selector        map[string]string // workloads in Namespace (every namespace if it is the root namespace)
	// Targets: hostnames of Services whose workloads enforce it, inbound; and gateways ("namespace/name").
	Services []string
	Gateways []string
	Config   ratelimit.Config
	Origin   Origin
}
