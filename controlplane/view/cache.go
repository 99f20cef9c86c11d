package view

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Cache makes the views of one World and keeps the parts that proxies share: what proxies of one namespace, with the
// same Sidecar and the same labels as far as any rule looks at them, may see outbound, and each cluster and group of
// endpoints by itself. Safe for concurrent use. A new World needs a new Cache.
type Cache struct {
	world    *mesh.World
	services map[string][]*mesh.Service // by Hostname
	policies map[policyKey][]*mesh.Policy
	// labels are the keys that any rule compares with a client's labels.
	labels []string

	mu       sync.Mutex
	scopes   map[string]*scope
	clusters map[clusterKey]*mesh.Cluster
	groups   map[clusterKey]*mesh.EndpointGroup
}

type policyKey struct{ namespace, host string }

// clusterKey is all that a cluster and its endpoints are made from, beside the World.
type clusterKey struct {
	host, namespace string
	port            uint32
	policy          *mesh.Policy
	subset          string
	kind            mesh.ClusterKind
}

// NewCache indexes w, which must not change any more.
func NewCache(w *mesh.World) *Cache {
	c := &Cache{
		world: w, services: map[string][]*mesh.Service{}, policies: map[policyKey][]*mesh.Policy{},
		scopes: map[string]*scope{}, clusters: map[clusterKey]*mesh.Cluster{}, groups: map[clusterKey]*mesh.EndpointGroup{},
	}
	for _, s := range w.Services {
		c.services[s.Hostname] = append(c.services[s.Hostname], s)
	}
	keys := map[string]bool{}
	for _, p := range w.Policies {
		k := policyKey{p.Namespace, p.Hostname}
		c.policies[k] = append(c.policies[k], p)
		for l := range p.Selector {
			keys[l] = true
		}
	}
	for _, r := range w.Rules {
		for _, route := range r.Routes {
			for _, m := range route.Matches {
				for l := range m.SourceLabels {
					keys[l] = true
				}
			}
		}
	}
	c.labels = slices.Sorted(maps.Keys(keys))
	return c
}

// scope returns what n shares with the proxies like it, making it on first use.
func (c *Cache) scope(n mesh.Node) *scope {
	sc := c.sidecarOf(n)
	id := fmt.Sprintf("%t %q %t %t %t", n.Gateway, n.Namespace, n.Intercepts, n.HTTPProxyPort != 0, n.Host().Mizzen())
	if sc != nil {
		id += fmt.Sprintf(" %q %q", sc.Namespace, sc.Name)
	}
	for _, l := range c.labels {
		if v, ok := n.Labels[l]; ok {
			id += fmt.Sprintf(" %q=%q", l, v)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.scopes[id]
	if s == nil {
		s = newScope(c, n, sc)
		c.scopes[id] = s
	}
	return s
}

// sidecarOf picks the Sidecar resource: one that selects the workload, the namespace's own, the root namespace's.
// Gateways have none.
func (c *Cache) sidecarOf(n mesh.Node) *mesh.Sidecar {
	if n.Gateway {
		return nil
	}
	var own, root *mesh.Sidecar
	for _, s := range c.world.Sidecars {
		switch {
		case s.Namespace == n.Namespace && s.Selector != nil && mesh.Selects(s.Selector, n.Labels):
			return s
		case s.Selector != nil:
		case s.Namespace == n.Namespace && own == nil:
			own = s
		case s.Namespace == c.world.Settings.RootNamespace && root == nil:
			root = s
		}
	}
	if own != nil {
		return own
	}
	return root
}
