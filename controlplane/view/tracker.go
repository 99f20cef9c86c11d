package view

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Tracker follows the Worlds that come one after another, and says which hosts a new one treats differently, so that what a
// change does not touch is not made again. It relies on identity: a part of the World that is the same value as before has not
// changed. Of(world, node) is the specification of what comes out.
//
// Its methods may be called at once, but for Advance, which must not overlap with anything.
type Tracker struct {
	cache  *Cache
	groups map[string]*Group
	mu     sync.Mutex // guards groups
	claims map[string]int
	led    map[string][]string // destination host -> hosts whose rules lead there
}

// Change is what Advance found.
type Change struct {
	// All: anything may be different; every Group was dropped.
	All bool
	// Clusters are the hosts whose clusters or endpoints may be different; Hosts those whose virtual hosts may be.
	Clusters, Hosts map[string]bool
	// Own: what stands before workloads may be different.
	Own bool
}

// NewTracker returns a Tracker that has seen no World.
func NewTracker() *Tracker { return &Tracker{groups: map[string]*Group{}} }

// World is the one that Advance was given last; nil before.
func (t *Tracker) World() *mesh.World {
	if t.cache == nil {
		return nil
	}
	return t.cache.world
}

// View makes the whole view of one proxy.
func (t *Tracker) View(n mesh.Node) *mesh.View { return t.cache.Of(n) }

// Advance takes up the next World, which must not be changed any more.
func (t *Tracker) Advance(w *mesh.World) Change {
	ch := Change{Clusters: map[string]bool{}, Hosts: map[string]bool{}}
	if t.cache == nil || !t.step(w, &ch) {
		t.begin(w)
		return Change{All: true, Own: true}
	}
	return ch
}

// begin forgets everything.
func (t *Tracker) begin(w *mesh.World) {
	t.cache = NewCache(w)
	t.groups = map[string]*Group{}
	t.claims, t.led = map[string]int{}, map[string][]string{}
	for host := range t.cache.services {
		t.claim(host, 1)
	}
	for host := range t.cache.exact {
		if len(t.cache.services[host]) == 0 {
			t.claim(host, 1)
		}
	}
	for _, r := range w.Rules {
		t.lead(r)
	}
}

// followed are the fields of World whose changes step understands; a change of any other begins anew.
var followed = []string{"Services", "Workloads", "Rules", "Policies", "Limits", "Endpoints"}

// step finds what is different and mends the indexes. False: it is too much, or of a kind that is not followed.
func (t *Tracker) step(w *mesh.World, ch *Change) bool {
	old := t.cache.world
	if !sameElsewhere(old, w) {
		return false
	}
	services := differing(old.Services, w.Services)
	rules := differing(old.Rules, w.Rules)
	policies := differing(old.Policies, w.Policies)
	limits := differing(old.Limits, w.Limits)
	if len(services)+len(rules)+len(policies) > len(w.Services)/4+16 {
		return false
	}
	if t.cache.setsApart(services, rules, policies, limits) {
		return false
	}
	for _, s := range services {
		if mesh.IsWildcard(s.Hostname) || !strings.Contains(s.Hostname, ".") || t.underWildcard(s.Hostname) || t.special(s.Hostname) {
			return false
		}
		ch.Own = ch.Own || s.Selector != nil
		ch.Clusters[s.Hostname], ch.Hosts[s.Hostname] = true, true
	}
	for _, p := range policies {
		if mesh.IsWildcard(p.Hostname) || p.Selector != nil || usesLocality(p) && !t.cache.local || len(comparedLabels(p)) > 0 {
			return false
		}
		ch.Own = true
		ch.Clusters[p.Hostname], ch.Hosts[p.Hostname] = true, true
	}
	for _, r := range rules {
		if !plainRule(r) {
			return false
		}
		for _, h := range r.Hosts {
			ch.Hosts[h] = true
		}
	}
	if !t.dependents(ch) {
		return false
	}
	t.endpoints(old, w, ch)
	if w.Authz != nil && slices.ContainsFunc(w.Authz.Hosts, func(host string) bool { return ch.Clusters[host] }) {
		return false // keys fetched over TLS have a cluster of their own to the same endpoints
	}
	workloads := differing(old.Workloads, w.Workloads)
	if slices.ContainsFunc(workloads, func(w *mesh.Workload) bool { return w.Proxy != nil }) {
		return false
	}
	ch.Own = ch.Own || len(limits)+len(workloads) > 0
	t.reindex(w, ch, rules)
	return true
}

// sameElsewhere compares what step does not follow.
func sameElsewhere(a, b *mesh.World) bool {
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range x.NumField() {
		if !slices.Contains(followed, x.Type().Field(i).Name) && !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			return false
		}
	}
	return true
}

// differing lists what is in one of two lists only. Both are mostly equal, and in the same order.
func differing[T comparable](a, b []T) []T {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	seen := make(map[T]int, len(a))
	for _, x := range a {
		seen[x]++
	}
	var out []T
	for _, x := range b {
		if seen[x] == 0 {
			out = append(out, x)
		} else {
			seen[x] = -1
		}
	}
	for _, x := range a {
		if seen[x] > 0 {
			out = append(out, x)
		}
	}
	return out
}

// plainRule tells whether a rule is for exact hosts and for all clients alike, so that no more than its hosts depend on it.
func plainRule(r *mesh.HostRules) bool {
	if slices.ContainsFunc(r.Hosts, mesh.IsWildcard) || len(r.TCP)+len(r.TLS) > 0 {
		return false
	}
	for _, route := range r.Routes {
		for _, m := range route.Matches {
			if len(m.SourceLabels) > 0 {
				return false
			}
		}
	}
	return true
}

// underWildcard tells whether a rule for many hosts covers one.
func (t *Tracker) underWildcard(host string) bool {
	return slices.ContainsFunc(t.cache.wild, func(h string) bool { return mesh.HostCovers(h, host) })
}

// leadsBytes tells whether a rule's TCP or TLS routes lead to a host: listeners hold its clusters' names.
func leadsBytes(r *mesh.HostRules, host string) bool {
	return slices.ContainsFunc(slices.Concat(r.TCP, r.TLS), func(l *mesh.L4Route) bool {
		return slices.ContainsFunc(l.Destinations, func(d *mesh.Destination) bool { return d.Hostname == host })
	})
}

// special tells whether a host has a part beside its own virtual hosts: the rate-limit service, a tracing or log provider, an external
// authorizer, a server of keys.
func (t *Tracker) special(host string) bool {
	w := t.cache.world
	if l := w.Settings.LimitService; l != nil && l.Hostname == host {
		return true
	}
	if slices.ContainsFunc(w.Sidecars, func(s *mesh.Sidecar) bool { return s.EgressProxy != nil && s.EgressProxy.Hostname == host }) {
		return true
	}
	if w.Authz != nil && (slices.Contains(w.Authz.Hosts, host) || slices.ContainsFunc(w.Authz.Providers, func(p *mesh.AuthProvider) bool { return p.Hostname == host })) {
		return true
	}
	if slices.ContainsFunc(w.Rules, func(r *mesh.HostRules) bool { return len(r.TCP)+len(r.TLS) > 0 && leadsBytes(r, host) }) {
		return true
	}
	return slices.Contains(providerHosts(w), host)
}

// dependents adds the hosts whose rules lead to a host that is different. False: a rule for many hosts does.
func (t *Tracker) dependents(ch *Change) bool {
	for host := range ch.Clusters {
		for _, h := range t.led[host] {
			if mesh.IsWildcard(h) {
				return false
			}
			ch.Hosts[h] = true
		}
	}
	return true
}

// endpoints adds the hosts whose endpoints are different.
func (t *Tracker) endpoints(old, w *mesh.World, ch *Change) {
	if reflect.ValueOf(old.Endpoints).Pointer() == reflect.ValueOf(w.Endpoints).Pointer() {
		return
	}
	same := func(a, b []*mesh.Endpoint) bool {
		return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
	}
	shared := 0
	for k, e := range w.Endpoints {
		was, ok := old.Endpoints[k]
		if !ok || !same(was, e) {
			ch.Clusters[k.Hostname] = true
		}
		if ok {
			shared++
		}
	}
	if shared < len(old.Endpoints) {
		for k := range old.Endpoints {
			if _, ok := w.Endpoints[k]; !ok {
				ch.Clusters[k.Hostname] = true
			}
		}
	}
}

// reindex mends the Cache for the hosts that are different.
func (t *Tracker) reindex(w *mesh.World, ch *Change, rules []*mesh.HostRules) {
	c := t.cache
	for host := range ch.Clusters {
		for _, k := range c.keys[host] {
			delete(c.clusters, k)
			delete(c.groups, k)
		}
		delete(c.keys, host)
	}
	contested := false // before or after
	for host := range ch.Hosts {
		contested = contested || t.contested(host)
		t.claim(host, -1)
	}
	c.reindex(w, ch.Hosts, rules)
	for host := range ch.Hosts {
		t.claim(host, 1)
		contested = contested || t.contested(host)
	}
	if contested {
		t.groups = map[string]*Group{} // all begin anew
	}
	for _, r := range rules {
		t.lead(r) // too many dependents do no harm
	}
	c.mu.Lock()
	c.scopes = map[string]*scope{} // of whole views; groups have their own
	c.mu.Unlock()
}

// lead notes the hosts that a rule of the mesh leads to: gateways are made whole.
func (t *Tracker) lead(r *mesh.HostRules) {
	if !inMesh(r) {
		return
	}
	add := func(to string) {
		for _, h := range r.Hosts {
			if h != to && !slices.Contains(t.led[to], h) {
				t.led[to] = append(t.led[to], h)
			}
		}
	}
	for _, route := range r.Routes {
		for _, d := range route.Destinations {
			add(d.Hostname)
		}
		for _, m := range route.Mirrors {
			add(m.Destination.Hostname)
		}
	}
}

// names are those by which some client may call a host, as far as another host might have one of them too.
func (t *Tracker) names(host string) []string {
	out := []string{strings.ToLower(host)}
	for _, s := range t.cache.services[host] {
		if short, ok := strings.CutSuffix(s.Hostname, ".svc."+t.cache.world.Settings.DomainSuffix); ok {
			name, ns, _ := strings.Cut(short, ".")
			out = append(out, short, short+".svc", ns+" "+name)
		}
		out = append(out, s.Addresses...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// claim counts a host's names, or no longer does, if it has a service or a rule.
func (t *Tracker) claim(host string, by int) {
	if !t.cache.known(host) {
		return
	}
	for _, n := range t.names(host) {
		if t.claims[n] += by; t.claims[n] == 0 {
			delete(t.claims, n)
		}
	}
}

// contested tells whether another host has one of a host's names: then which of them gets it is decided table by table.
func (t *Tracker) contested(host string) bool {
	return slices.ContainsFunc(t.names(host), func(n string) bool { return t.claims[n] > 1 })
}
