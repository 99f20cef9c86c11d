package mesh

// EnvoyFilter is one EnvoyFilter resource.
type EnvoyFilter struct {
	Namespace, Name string
	Selector        map[string]string // nil: every workload of the namespace (of all, from the root namespace)
	Patches         []*Patch          // in the order in which they are applied
	Origin          Origin
}

// Patch is one change of what a proxy is given, in Istio's words.
type Patch struct {
	ApplyTo     string // LISTENER, FILTER_CHAIN, NETWORK_FILTER, HTTP_FILTER, LISTENER_FILTER, ROUTE_CONFIGURATION, ...
	Context     string // SIDECAR_INBOUND, SIDECAR_OUTBOUND, GATEWAY; "": any
	Operation   string // MERGE, ADD, REMOVE, INSERT_BEFORE, INSERT_AFTER, INSERT_FIRST, REPLACE, MERGE_AND_REPLACE_LIST
	FilterClass string // AUTHN, AUTHZ, STATS: where ADD puts an HTTP filter; "": before the router
	// ProxyVersion is a regular expression for the proxy's ISTIO_VERSION, Metadata what its node's metadata must hold. The view
	// looks at them, nothing after it.
	ProxyVersion string
	Metadata     map[string]string
	Listener     *ListenerMatch // nil: all
	Table        *TableMatch
	Cluster      *ClusterMatch
	// Value is the patch as JSON of Envoy's message; "" for REMOVE. It is known to be one.
	Value  string
	Origin Origin
}

// ListenerMatch selects listeners and what is in them. Zero values match all.
type ListenerMatch struct {
	Name string
	Port uint32
	// Of the filter chain:
	Chain             string
	SNI               string
	Transport         string
	Applications      []string
	DestinationPort   uint32
	Filter, SubFilter string
	ListenerFilter    string
}

// TableMatch selects route tables and what is in them. Zero values match all.
type TableMatch struct {
	Name     string
	Port     uint32
	PortName string // of a gateway's server
	Gateway  string // "namespace/name"
	Host     string // virtual host's name
	Domain   string // one of its domains
	Route    string
	Action   string // ROUTE, REDIRECT, DIRECT_RESPONSE; "": any
}

// ClusterMatch selects clusters. Zero values match all.
type ClusterMatch struct {
	Name, Service, Subset string
	Port                  uint32
}
