package mesh

import (
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// Node is what the control plane knows of a proxy, read from its xDS node (Istio's form) and nothing else.
type Node struct {
	ID        string // sidecar~IP~pod.ns~ns.svc.cluster.local
	Gateway   bool   // "router" rather than "sidecar"
	IP        string
	Families  Families // of IP, and of metadata INSTANCE_IPS
	Name      string   // pod name
	Namespace string
	Domain    string // ns.svc.cluster.local
	Labels    map[string]string
	// Metadata is what of the node's metadata is text: EnvoyFilters may ask for it.
	Metadata map[string]string
	// Intercepts is false with metadata INTERCEPTION_MODE NONE: the proxy binds real ports and, if HTTPProxyPort is
	// set (metadata HTTP_PROXY_PORT), serves outbound HTTP as a proxy on it. True is Istio's REDIRECT.
	Intercepts    bool
	HTTPProxyPort uint32
	// AppAddress is where the application listens (metadata MIZZEN_APP_ADDRESS); "" loopback.
	AppAddress string
	// BindAddress for listeners that bind (metadata MIZZEN_BIND_ADDRESS); "" the IP for inbound, any for gateways.
	BindAddress string
	// Locality is "region/zone/subzone" as the proxy says itself; "": its labels or its workload tell.
	Locality string
	// Ports maps a gateway server's port to the port really bound (metadata MIZZEN_PORTS {"80":8080}). Nil: the Services that lead to
	// the gateway tell.
	Ports map[uint32]uint32
	// PodPorts are the ports to which the pod's containers give names (metadata POD_PORTS), for a pod that is not known yet.
	PodPorts map[string]uint32
	// ServiceAccount that the proxy says it runs under (metadata SERVICE_ACCOUNT); "" unsaid.
	ServiceAccount string
	// Identity is true if an agent beside the proxy serves its certificate over SDS, as static cluster sds-grpc (metadata
	// MIZZEN_SDS). Without one it can neither take nor make mesh TLS.
	Identity bool
	// Module is true if the proxy can load Mizzen's dynamic module (metadata MIZZEN_FILTERS "dynamic-module").
	Module bool
	// Wasm is the file of mizzen.wasm as the proxy sees it (metadata MIZZEN_FILTERS "wasm", MIZZEN_WASM); "": no wasm.
	Wasm string
	// Golang is the file of libmizzen-golang.so as the proxy sees it, a contrib Envoy (metadata MIZZEN_FILTERS "golang",
	// MIZZEN_GOLANG); "": it does not run that. A proxy with none of the three gets the policies in the form of Envoy's own filters, see Host.
	Golang string
	// Modules is where the proxy sees the directory in which the control plane keeps the modules of Extensions (metadata
	// MIZZEN_MODULES); "": it has to fetch them.
	Modules string
	// Without are keys of EnvoyFilters that this proxy's Envoy refused and that are left out of its view; see view.FilterKey.
	Without []string
}

// View is all that one proxy may know: the cache key of configuration. xdsgen sees nothing else.
type View struct {
	Node      Node
	Settings  Settings
	Listeners []*Listener      // sorted by Name
	Tables    []*RouteTable    // sorted by Name
	Clusters  []*Cluster       // sorted by Name
	Endpoints []*EndpointGroup // sorted by Cluster; one per EDS cluster
	Secrets   []*ServedSecret  // sorted by Name; of a gateway, never of another namespace
	// Patches are applied, in their order, to what all of the above becomes. Mostly nil.
	Patches []*Patch
}

// ListenerKind says what a listener is for.
type ListenerKind uint8

// Listener kinds.
const (
	// ListenHTTPProxy: outbound HTTP as an explicit proxy (INTERCEPTION_MODE NONE); CONNECT included.
	ListenHTTPProxy ListenerKind = iota
	// ListenOutboundHTTP: any address, bind_to_port false, reached through ListenVirtualOutbound.
	ListenOutboundHTTP
	// ListenOutboundTCP: one service port of plain TCP (or TLS passed through).
	ListenOutboundTCP
	// ListenVirtualOutbound: 15001, use_original_dst, Passthrough or BlackHole.
	ListenVirtualOutbound
	// ListenVirtualInbound: 15006, one filter chain per Inbound.
	ListenVirtualInbound
	// ListenInbound: binds one workload port itself (INTERCEPTION_MODE NONE).
	ListenInbound
	// ListenGateway: a gateway's port.
	ListenGateway
)

// Listener of one proxy.
type Listener struct {
	Name    string // Istio's: "0.0.0.0_9080", "virtualOutbound", "virtualInbound"
	Kind    ListenerKind
	Address string // an IP address, or "unix:///path", with Port 0
	Port    uint32
	// Additional addresses, with the same port.
	Additional []string
	// Own: it is bound although connections are intercepted.
	Own bool
	// Table is the RouteTable for HTTP kinds.
	Table string
	// Cluster for ListenOutboundTCP, and what ListenVirtualOutbound sends unmatched connections to.
	Cluster string
	// Chains are the filter chains of a listener for which one Table or Cluster is not enough: TLS, server names, ranges of
	// addresses. With Chains, Table and Cluster are what a connection gets that no chain takes ("": it is closed).
	Chains []*Chain
	// Detect tells requests from other connections by their first bytes: HTTP goes to Table, what no chain takes of the rest to Cluster
	// ("": it is closed).
	Detect bool
	// Peer is what ListenVirtualInbound takes on ports that no Inbound has.
	Peer PeerMode
	// Inbound: one for ListenInbound, any number for ListenVirtualInbound.
	Inbound []*Inbound
	// Auth guards the listener's chains, but those of Inbound, which have their own; nil: everything passes.
	Auth *Auth
	// Extensions stand in the listener's chains, but those of Inbound, which have their own.
	Extensions []*Extension
	Origins    []Origin
	// DynamicDNS: some requests go to the host that they name, whatever it is.
	DynamicDNS bool
	// Tracing is the listener's base filter configuration.
	Tracing *tracing.Config
	// Stats are the names in statistics of clusters that get bytes, by cluster, where they differ from the clusters' own.
	Stats map[string]string
	// Tracer is Envoy's own, which makes the spans in place of Tracing.Export; nil: off.
	Tracer *Tracer
	// Logs are the listener's access logs.
	Logs []*AccessLog
	// Metrics are Istio's standard ones; nil: none.
	Metrics *MetricSet
}

// Inbound is one port of the workload that the proxy stands before.
type Inbound struct {
	Port     uint32 // workload port
	Protocol Protocol
	Cluster  string // "inbound|9080||"
	Table    string // RouteTable "inbound|9080||"; "" for TCP; with Detected, what is not HTTP goes to Cluster
	Hostname string // service, for stats; "" if none
	Auth     *Auth  // guards the port; nil: everything passes
	// Extensions stand in the port's chains.
	Extensions []*Extension
	// Peer is what the port takes: plaintext, mesh TLS or both. "" is plaintext.
	Peer PeerMode
}

// RouteTable is one RouteConfiguration. Virtual hosts travel one by one to delta clients.
type RouteTable struct {
	Name         string
	VirtualHosts []*VirtualHost // sorted by Name; never the catch-all
	// CatchAll is the "*" host that stays inside the table: "allow_any" to PassthroughCluster, "block_all" (502) or nil.
	CatchAll *VirtualHost
	Gateway  bool
	// Servers are the ports of a gateway's plain HTTP servers that share the table, sorted; nil: the one in its name.
	Servers []uint32
	Inbound bool
	// Own: it is one listener's: of a service port whose protocol is detected, with CatchAll its host, or of a Unix socket.
	Own bool
	// Proxy: the table of a ListenHTTPProxy (adds CONNECT routes where TLS ports are named).
	Proxy bool
}

// EmptyHost is the virtual host that travels for a table without any: its listener stays closed until the first one has come, and an
// empty answer does not count as such. No request is for its domain.
const EmptyHost = "(none)"

// VirtualHost of a table.
type VirtualHost struct {
	Name    string // "reviews.default.svc.cluster.local:9080"
	Domains []string
	Routes  []*BoundRoute
	// Canary decides among the routes whose Choice is not ""; nil: Envoy's own matching.
	Canary *canary.Config
	// RateLimit applies to every route of the host.
	RateLimit  *ratelimit.Config
	RequireTLS bool // httpsRedirect
	Origins    []Origin
}

// BoundRoute is one Envoy route: one match and an action whose clusters are resolved.
type BoundRoute struct {
	Name  string
	Match *Match // nil: everything
	// Choice, if not "", is the value of canary.RouteHeader that selects this route (on top of the path in Match).
	Choice string
	// Connect: a CONNECT route (explicit proxy to a TLS port).
	Connect  bool
	Tunnel   *Tunnel            // of a CONNECT route: where the cluster's HTTP proxies are asked to lead; nil: to it itself
	Route    *Route             // the action and its policies (rewrite, timeout, retries, headers...)
	Clusters []*WeightedCluster // for Route.Destinations, already resolved; one with Weight 0 or 100, or several
	Mirrors  []*MirrorCluster
	Hash     []*HashKey // consistent hash of the destinations
	Fault    *fault.Config
}

// WeightedCluster is a destination resolved to a cluster.
type WeightedCluster struct {
	Cluster string
	Weight  uint32
	Headers HeaderOps
	// Missing: no such subset or host; Envoy answers 503 NC. Do not wait for it.
	Missing bool
}

// MirrorCluster is a mirror resolved to a cluster.
type MirrorCluster struct {
	Cluster string
	PPM     uint32
}

// ClusterKind is how a cluster finds its hosts.
type ClusterKind uint8

// Cluster kinds.
const (
	ClusterEDS ClusterKind = iota
	ClusterStrictDNS
	ClusterLogicalDNS
	ClusterOriginalDst
	ClusterStatic
	// ClusterDynamicDNS resolves the request's own host (dynamic forward proxy): ResolutionNone and Passthrough of an
	// explicit HTTP proxy.
	ClusterDynamicDNS
	// ClusterBlackHole has no hosts.
	ClusterBlackHole
)

// Cluster of one proxy.
type Cluster struct {
	Name     string // outbound|9080|v1|reviews.default.svc.cluster.local
	StatName string // in statistics; "": Name
	Kind     ClusterKind
	Hosts    []*Endpoint // for Static and DNS kinds
	Places   []*Place    // Hosts, arranged as the client prefers them, in their stead; nil: they are all alike
	Protocol Protocol
	Traffic  *Traffic // port-level resolved: its Ports is nil; nil: defaults
	// TLS of connections to the hosts; nil: plaintext. Traffic.TLS is what the user wrote, this what comes of it.
	TLS     *UpstreamTLS
	Inbound bool
	// Distributed: the weights of places count, whatever hosts they have.
	Distributed bool
	// Hostname, Namespace, Subset for metadata that Kiali and istioctl read; Origin is the DestinationRule, if any.
	Hostname, Namespace, Subset string
	Port                        uint32
	Origins                     []Origin
}

// EndpointGroup is the endpoints of one EDS cluster. Unready ones are left out, draining ones marked.
type EndpointGroup struct {
	Cluster   string
	Endpoints []*Endpoint
	Places    []*Place // in place of Endpoints, where the client has preferences
	// Named: each endpoint tells its workload's name, for metrics.
	Named bool
}
