package server

import (
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// kind is a resource type, in the order in which a proxy must learn of them.
type kind int

const (
	clusters kind = iota
	endpoints
	listeners
	routes
	hosts // VirtualHosts; delta only
	kinds // their number
)

// kindOf finds the kind of a type URL.
func kindOf(url string) (kind, bool) {
	for k := range kinds {
		if k.url() == url {
			return k, true
		}
	}
	return 0, false
}

func (k kind) url() string {
	return [...]string{
		xdsgen.TypeCluster, xdsgen.TypeEndpoint, xdsgen.TypeListener, xdsgen.TypeRoute, xdsgen.TypeVirtualHost,
	}[k]
}

// short is the name that Istio's metrics and tables use.
func (k kind) short() string { return [...]string{"cds", "eds", "lds", "rds", "vhds"}[k] }

// noun is what a user calls one resource of the kind.
func (k kind) noun() string {
	return [...]string{"cluster", "endpoints", "listener", "route table", "virtual host"}[k]
}

// listed kinds may be asked for as a whole; the others only by name.
func (k kind) listed() bool { return k != endpoints && k != routes }

// routing kinds send traffic to clusters and so wait for them.
func (k kind) routing() bool { return k >= listeners }

// list picks what a proxy is to have of a kind.
func list(r *xdsgen.Resources, k kind, delta bool) []*xdsgen.Resource {
	switch {
	case r == nil:
		return nil
	case k == clusters:
		return r.Clusters
	case k == endpoints:
		return r.Endpoints
	case k == listeners:
		return r.Listeners
	case k == routes && delta:
		return r.Routes
	case k == routes:
		return r.InlineRoutes
	case delta:
		return r.VirtualHosts
	}
	return nil
}

// find looks a name up in a list sorted by name; nil if it is not there.
func find(rs []*xdsgen.Resource, name string) *xdsgen.Resource {
	i, ok := slices.BinarySearchFunc(rs, name, func(r *xdsgen.Resource, n string) int {
		switch {
		case r.Name < n:
			return -1
		case r.Name > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return rs[i]
}
