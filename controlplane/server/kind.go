package server

import (
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// kind is a resource type, in the order in which a proxy must learn of them.
type kind int

const (
	names kind = iota // the agent's; nothing waits for them, and they for nothing
	clusters
	endpoints
	secrets    // what listeners wait for
	extensions // too
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
		xdsgen.TypeNames, xdsgen.TypeCluster, xdsgen.TypeEndpoint, xdsgen.TypeSecret, xdsgen.TypeExtension, xdsgen.TypeListener, xdsgen.TypeRoute, xdsgen.TypeVirtualHost,
	}[k]
}

// short is the name that Istio's metrics and tables use.
func (k kind) short() string {
	return [...]string{"nds", "cds", "eds", "sds", "ecds", "lds", "rds", "vhds"}[k]
}

// noun is what a user calls one resource of the kind.
func (k kind) noun() string {
	return [...]string{"table of names", "cluster", "endpoints", "secret", "extension", "listener", "route table", "virtual host"}[k]
}

// listed kinds may be asked for as a whole; the others only by name.
func (k kind) listed() bool { return k != endpoints && k != routes && k != secrets && k != extensions }

// routing kinds send something to clusters and so wait for them.
func (k kind) routing() bool { return k >= extensions }

// setOf picks what a proxy is to have of a kind.
func setOf(r *xdsgen.Sets, k kind) xdsgen.Set {
	if r == nil {
		return xdsgen.Set{}
	}
	return [...]xdsgen.Set{r.Names, r.Clusters, r.Endpoints, r.Secrets, r.Extensions, r.Listeners, r.Routes, r.VirtualHosts}[k]
}
