package view

import (
	"fmt"
	"maps"
	"slices"
	"sort"
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
	// special are the namespaces that something sets apart, see findSpecial.
	special map[string]bool
	// labels are the keys that any rule compares with a client's labels.
	labels []string
	local  bool // a rule looks at where clients are
	// exact are the mesh's rules by exact host, in order of precedence; wild the patterns of the others.
	exact map[string][]*mesh.HostRules
	wild  []string
	// proxies are what pods say of their proxies, by "namespace/name".
	proxies map[string]*mesh.Proxy
	// serving are the services that select workloads, by namespace.
	serving map[string][]*mesh.Service

	mu       sync.Mutex
	scopes   map[string]*scope
	clusters map[clusterKey]*mesh.Cluster
	groups   map[clusterKey]*mesh.EndpointGroup
	keys     map[string][]clusterKey // of clusters, by host
}

type policyKey struct{ namespace, host string }

// clusterKey is all that a cluster and its endpoints are made from, beside the World.
type clusterKey struct {
	host, namespace string
	port            uint32
	policy          *mesh.Policy
	subset          string
	kind            mesh.ClusterKind
	identity        bool   // the proxy has one
	gateway         bool   // it may have Secrets
	near            string // see scope.near
}

// NewCache indexes w, which must not change any more.
func NewCache(w *mesh.World) *Cache {
	c := &Cache{
		world: w, services: map[string][]*mesh.Service{}, policies: map[policyKey][]*mesh.Policy{},
		scopes: map[string]*scope{}, clusters: map[clusterKey]*mesh.Cluster{}, groups: map[clusterKey]*mesh.EndpointGroup{},
		exact: map[string][]*mesh.HostRules{}, keys: map[string][]clusterKey{},
	}
	c.index()
	c.proxies = map[string]*mesh.Proxy{}
	for _, w := range c.world.Workloads {
		if w.Proxy != nil {
			c.proxies[w.Namespace+"/"+w.Name] = w.Proxy
		}
	}
	c.findSpecial()
	keys := map[string]bool{}
	c.local = w.Settings.Locality != nil && (len(w.Settings.Locality.Distribute) > 0 || w.Settings.Locality.Zones)
	for _, l := range clientKeys(w.Settings.Locality) {
		keys[l] = true
	}
	for _, p := range w.Policies {
		for l := range p.Selector {
			keys[l] = true
		}
		c.local = c.local || usesLocality(p)
		for _, l := range comparedLabels(p) {
			keys[l] = true
		}
	}
	for _, r := range w.Rules {
		for _, l := range slices.Concat(r.TCP, r.TLS) {
			for _, m := range l.Matches {
				for k := range m.SourceLabels {
					keys[k] = true
				}
			}
		}
		if slices.Contains(r.Gateways, mesh.MeshGateway) && len(r.Routes) > 0 {
			for _, h := range r.Hosts {
				if mesh.IsWildcard(h) && h != "*" {
					c.wild = append(c.wild, h)
				}
			}
		}
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

// index fills the maps by host.
func (c *Cache) index() {
	for _, s := range c.world.Services {
		c.services[s.Hostname] = append(c.services[s.Hostname], s)
	}
	c.indexServing()
	c.indexPolicies()
	for _, r := range c.world.Rules {
		if inMesh(r) {
			for _, h := range r.Hosts {
				c.exact[h] = append(c.exact[h], r)
			}
		}
	}
}

func (c *Cache) indexServing() {
	c.serving = map[string][]*mesh.Service{}
	for _, s := range c.world.Services {
		if s.Selector != nil {
			c.serving[s.Namespace] = append(c.serving[s.Namespace], s)
		}
	}
}

func (c *Cache) indexPolicies() {
	c.policies = map[policyKey][]*mesh.Policy{}
	for _, p := range c.world.Policies {
		k := policyKey{p.Namespace, p.Hostname}
		c.policies[k] = append(c.policies[k], p)
	}
}

// inMesh tells whether a rule's routes are for sidecars.
func inMesh(r *mesh.HostRules) bool {
	return slices.Contains(r.Gateways, mesh.MeshGateway) && len(r.Routes) > 0
}

// known tells whether a host has a service or a rule.
func (c *Cache) known(host string) bool { return len(c.services[host])+len(c.exact[host]) > 0 }

// reindex takes up a World that differs in some hosts, and in some rules of theirs. It looks at no more than that if it can: touching
// every service of a large mesh once is what a small change would cost most.
func (c *Cache) reindex(w *mesh.World, hosts map[string]bool, rules []*mesh.HostRules) {
	old := c.world
	c.world = w
	if len(differing(old.Services, w.Services)) > 0 {
		c.indexServing()
		for h := range hosts {
			c.services[h] = servicesOf(w, h)
			if c.services[h] == nil {
				delete(c.services, h)
			}
		}
	}
	if len(differing(old.Policies, w.Policies)) > 0 {
		c.indexPolicies()
	}
	if len(rules) == 0 {
		return
	}
	for h := range hosts {
		c.exact[h] = c.rulesOf(h, rules)
		if c.exact[h] == nil {
			delete(c.exact, h)
		}
	}
}

// servicesOf are the services of a host, in order.
func servicesOf(w *mesh.World, host string) []*mesh.Service {
	from := sort.Search(len(w.Services), func(i int) bool { return w.Services[i].Hostname >= host })
	to := from
	for to < len(w.Services) && w.Services[to].Hostname == host {
		to++
	}
	if from == to {
		return nil
	}
	return slices.Clone(w.Services[from:to])
}

// rulesOf are the mesh's rules for an exact host, in order, when some came or went.
func (c *Cache) rulesOf(host string, differ []*mesh.HostRules) []*mesh.HostRules {
	before := c.exact[host]
	out := slices.DeleteFunc(slices.Clone(before), func(r *mesh.HostRules) bool { return slices.Contains(differ, r) })
	for _, r := range differ {
		if inMesh(r) && slices.Contains(r.Hosts, host) && !slices.Contains(before, r) {
			out = append(out, r)
		}
	}
	switch len(out) {
	case 0:
		return nil
	case 1:
		return out
	}
	var sorted []*mesh.HostRules
	for _, r := range c.world.Rules {
		if slices.Contains(out, r) {
			sorted = append(sorted, r)
		}
	}
	return sorted
}

// scope returns what n shares with the proxies like it, making it on first use.
func (c *Cache) scope(n mesh.Node) *scope {
	sc := c.sidecarOf(n)
	id := c.scopeID(n, sc)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.scopes[id]
	if s == nil {
		s = newScope(c, n, sc)
		c.scopes[id] = s
	}
	return s
}

// scopeID is all of a proxy that its scope depends on.
func (c *Cache) scopeID(n mesh.Node, sc *mesh.Sidecar) string {
	id := fmt.Sprintf("%t %q %t %t %t %t", n.Gateway, c.namespaceID(n), n.Intercepts, n.HTTPProxyPort != 0, n.Host().Mizzen(), n.Identity)
	if p := c.proxy(n); p != c.world.Settings.Proxy {
		id += fmt.Sprintf(" %t %t %t %d", p.NoAttemptCount, p.KeepHeaderCase, p.ForwardedHost, p.Connections.ClusterBuffer)
	}
	if sc != nil {
		id += fmt.Sprintf(" %q %q", sc.Namespace, sc.Name)
	}
	if n.Families != mesh.IPv4 {
		id += fmt.Sprintf(" families %d", n.Families)
	}
	if home := c.localityOf(n); home != "" {
		id += fmt.Sprintf(" at %q", home)
	}
	for _, l := range c.labels {
		if v, ok := n.Labels[l]; ok {
			id += fmt.Sprintf(" %q=%q", l, v)
		}
	}
	return id
}

// sidecarOf picks the Sidecar resource. Gateways have none.
func (c *Cache) sidecarOf(n mesh.Node) *mesh.Sidecar {
	if n.Gateway {
		return nil
	}
	return c.world.SidecarOf(n.Namespace, n.Labels)
}
