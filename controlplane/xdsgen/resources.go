// Package xdsgen turns one proxy's view into Envoy resources. It sees a *mesh.View and nothing else.
package xdsgen

import (
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"google.golang.org/protobuf/types/known/anypb"
)

// Type URLs of what is served.
const (
	TypeCluster     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoint    = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	TypeListener    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	TypeRoute       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	TypeSecret      = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	TypeExtension   = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	TypeVirtualHost = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
)

// Resource is one named Envoy resource, marshalled once and shared by every proxy that sees the same part.
type Resource struct {
	Type    string
	Name    string
	Version string     // hash of Body's bytes, hex: equal content has equal versions, across restarts and replicas
	Body    *anypb.Any // deterministic marshalling; never changed
	// Clusters it sends traffic to and that exist in the same Resources: they must be acknowledged (with their
	// endpoints) before this is sent, and not be withdrawn before this is. Sorted.
	Clusters []string
	// Table is, for a VirtualHost, the RouteConfiguration it belongs to; for a Listener, the tables it names joined by ",".
	Table   string
	Origins []mesh.Origin
	// Instead, if not nil, stands under the name in a proxy that refused this and has no earlier version.
	Instead *Resource

	frame []byte // see Frame; nil if it was not made by Build
}

// Resources is all that one proxy is to have.
type Resources struct {
	Clusters  []*Resource // each list sorted by Name
	Endpoints []*Resource
	Listeners []*Resource
	// Routes are RouteConfigurations with `vhds` and without the virtual hosts in VirtualHosts: for delta clients.
	Routes []*Resource
	// VirtualHosts are named "<table>/<virtual host>".
	VirtualHosts []*Resource
	// InlineRoutes are the same tables with every virtual host inside: for state-of-the-world clients.
	InlineRoutes []*Resource
	// Secrets are a gateway's certificates, private keys included: never to be printed.
	Secrets []*Resource
	// Extensions are the configurations that filters discover by name.
	Extensions []*Resource
}
