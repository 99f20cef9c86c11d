package run

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// worlds makes one World after another, each sharing with the one before what has not changed.
type worlds struct {
	rnd       *rand.Rand
	settings  mesh.Settings
	services  map[string]*mesh.Service
	rules     map[string]*mesh.HostRules
	policies  map[string]*mesh.Policy
	sidecars  map[string]*mesh.Sidecar
	gateways  map[string]*mesh.Gateway
	limits    map[string]*mesh.LimitPolicy
	workloads map[string]*mesh.Workload
	endpoints map[mesh.EndpointKey][]*mesh.Endpoint
}

func newWorlds(seed uint64) *worlds {
	return &worlds{
		rnd:      rand.New(rand.NewPCG(seed, 7)),
		settings: mesh.Settings{DomainSuffix: "cluster.local", RootNamespace: "istio-system", OutboundAny: true},
		services: map[string]*mesh.Service{}, rules: map[string]*mesh.HostRules{}, policies: map[string]*mesh.Policy{},
		sidecars: map[string]*mesh.Sidecar{}, gateways: map[string]*mesh.Gateway{}, limits: map[string]*mesh.LimitPolicy{},
		workloads: map[string]*mesh.Workload{}, endpoints: map[mesh.EndpointKey][]*mesh.Endpoint{},
	}
}

var namespaces = []string{"a", "b", "istio-system"}

func (g *worlds) namespace() string { return namespaces[g.rnd.IntN(len(namespaces))] }

// host is one that some service may have.
func (g *worlds) host() string {
	i := g.rnd.IntN(8)
	switch g.rnd.IntN(12) {
	case 0, 1, 2, 3, 4, 5, 6:
		return fmt.Sprintf("s%d.%s.svc.cluster.local", i, namespaces[i%2])
	case 7, 8, 9, 10:
		return fmt.Sprintf("x%d.example.com", i)
	}
	return "s1.a" // a short name of another
}

func (g *worlds) service(rare bool) {
	h := g.host()
	ns := g.namespace()
	var short string
	if _, err := fmt.Sscanf(h, "s%1s.", &short); err == nil && len(h) > 6 {
		ns, short = h[3:4], "s"+short
	}
	s := &mesh.Service{Hostname: h, Namespace: ns, ShortName: short, Resolution: mesh.ResolutionStatic}
	if rare && g.rnd.IntN(3) == 0 {
		s.Hostname = "*.example.com"
	}
	for _, p := range []uint32{80, 8080, 9000} {
		if g.rnd.IntN(3) > 0 {
			port := &mesh.Port{Number: p, Name: "http", Protocol: mesh.HTTP, TargetPort: p}
			if rare && g.rnd.IntN(3) == 0 {
				port.Protocol = []mesh.Protocol{mesh.TCP, mesh.Detected}[g.rnd.IntN(2)]
			}
			s.Ports = append(s.Ports, port)
		}
	}
	if short != "" {
		s.Selector = map[string]string{"app": short}
	}
	if rare && g.rnd.IntN(2) == 0 {
		s.Visibility = mesh.Visibility{g.namespace(): true}
	}
	if g.rnd.IntN(4) == 0 {
		s.Addresses = []string{fmt.Sprintf("10.0.0.%d", g.rnd.IntN(6))}
	}
	if rare && g.rnd.IntN(4) == 0 {
		s.Resolution = []mesh.Resolution{mesh.ResolutionDNS, mesh.ResolutionNone}[g.rnd.IntN(2)]
	}
	key := s.Hostname + " " + s.Namespace
	if g.services[key] != nil && g.rnd.IntN(4) == 0 {
		delete(g.services, key)
		return
	}
	g.services[key] = s
}

func (g *worlds) rule(rare bool) {
	name := fmt.Sprintf("r%d", g.rnd.IntN(10))
	if g.rules[name] != nil && g.rnd.IntN(4) == 0 {
		delete(g.rules, name)
		return
	}
	r := &mesh.HostRules{Namespace: g.namespace(), Name: name, Hosts: []string{g.host()}, Gateways: []string{mesh.MeshGateway}}
	if g.rnd.IntN(4) == 0 {
		r.Hosts = append(r.Hosts, g.host())
	}
	if rare && g.rnd.IntN(4) == 0 {
		r.Hosts = []string{"*.example.com"}
	}
	if rare && g.rnd.IntN(4) == 0 {
		r.Visibility = mesh.Visibility{g.namespace(): true}
	}
	if rare && g.rnd.IntN(3) == 0 {
		r.Gateways = append(r.Gateways, "a/gw")
	}
	route := &mesh.Route{Timeout: time.Duration(g.rnd.IntN(5)) * time.Second}
	for range 1 + g.rnd.IntN(2) {
		d := &mesh.Destination{Hostname: g.host(), Weight: 50}
		if g.rnd.IntN(2) == 0 {
			d.Subset = "v1"
		}
		if g.rnd.IntN(3) == 0 {
			d.Port = 8080
		}
		route.Destinations = append(route.Destinations, d)
	}
	if g.rnd.IntN(4) == 0 {
		route.Mirrors = []*mesh.Mirror{{Destination: mesh.Destination{Hostname: g.host()}, PPM: 1000}}
	}
	if rare && g.rnd.IntN(4) == 0 {
		route.Matches = []*mesh.Match{{SourceLabels: map[string]string{"app": "s1"}}, {SourceNamespace: "a"}, {Port: 80}}
	}
	r.Routes = []*mesh.Route{route}
	g.rules[name] = r
}

func (g *worlds) policy(rare bool) {
	h, ns := g.host(), g.namespace()
	key := h + " " + ns
	if g.policies[key] != nil && g.rnd.IntN(3) == 0 {
		delete(g.policies, key)
		return
	}
	p := &mesh.Policy{Namespace: ns, Hostname: h, Traffic: &mesh.Traffic{Pool: &mesh.ConnectionPool{MaxConnections: g.rnd.Uint32N(4)}}}
	if g.rnd.IntN(2) == 0 {
		p.Traffic.LoadBalancer = &mesh.LoadBalancer{Kind: "RING_HASH", Hash: &mesh.HashKey{Header: fmt.Sprintf("h%d", g.rnd.IntN(3))}}
	}
	if g.rnd.IntN(2) == 0 {
		p.Subsets = []*mesh.Subset{{Name: "v1", Labels: map[string]string{"version": "v1"}}}
	}
	if rare && g.rnd.IntN(3) == 0 {
		p.Hostname, key = "*.example.com", "*.example.com "+ns
	}
	if rare && g.rnd.IntN(4) == 0 {
		p.Selector = map[string]string{"app": "s1"}
	}
	g.policies[key] = p
}

func (g *worlds) endpoint() {
	for _, s := range values(g.services) {
		if g.rnd.IntN(4) > 0 {
			continue
		}
		for _, p := range s.Ports {
			k := mesh.EndpointKey{Hostname: s.Hostname, Namespace: s.Namespace, Port: p.Number}
			var list []*mesh.Endpoint
			for i := range g.rnd.IntN(4) {
				list = append(list, &mesh.Endpoint{Address: fmt.Sprintf("10.1.%d.%d", g.rnd.IntN(9), i), Port: p.Number, Ready: true,
					Labels: map[string]string{"version": fmt.Sprintf("v%d", i%2+1)}})
			}
			g.endpoints[k] = list
		}
		return
	}
}

func (g *worlds) odd() {
	switch g.rnd.IntN(6) {
	case 0:
		g.settings.OutboundAny = !g.settings.OutboundAny
	case 1:
		ns := g.namespace()
		if delete(g.sidecars, ns); g.rnd.IntN(2) == 0 {
			g.sidecars[ns] = &mesh.Sidecar{Namespace: ns, Name: "s", Egress: []mesh.EgressHost{{Namespace: "*", Host: "*.example.com"}, {Namespace: "a", Host: "*"}}}
		}
	case 2:
		g.gateways["gw"] = &mesh.Gateway{Namespace: "a", Name: "gw", Selector: map[string]string{"istio": "gw"}, Servers: []*mesh.Server{{
			Port: 80, Protocol: mesh.HTTP, Hosts: []mesh.GatewayHost{{Host: "*"}}, HTTPSRedirect: g.rnd.IntN(2) == 0,
		}}}
	case 3:
		g.limits["l"] = &mesh.LimitPolicy{Namespace: "a", Name: "l", Services: []string{g.host()}, Config: ratelimit.Config{Limits: []ratelimit.Limit{{
			Name: "x", Requests: 1 + g.rnd.Uint32N(9), Per: 1e9,
		}}}}
	default:
		n := fmt.Sprintf("w%d", g.rnd.IntN(4))
		g.workloads[n] = &mesh.Workload{Namespace: "a", Name: n, Address: "10.2.0.1", Labels: map[string]string{"app": "s1"}, Ports: map[string]uint32{"http": 8081}}
	}
}

// next makes some changes; rare ones too, if asked to.
func (g *worlds) next(changes int, rare bool) *mesh.World {
	for range changes {
		switch g.rnd.IntN(8) {
		case 0, 1:
			g.service(rare)
		case 2, 3:
			g.rule(rare)
		case 4:
			g.policy(rare)
		case 5, 6:
			g.endpoint()
		default:
			if rare {
				g.odd()
			}
		}
	}
	live := map[mesh.EndpointKey][]*mesh.Endpoint{}
	for k, e := range g.endpoints {
		if s := g.services[k.Hostname+" "+k.Namespace]; s != nil {
			live[k] = e
		}
	}
	w := &mesh.World{
		Settings: g.settings, Services: values(g.services), Rules: values(g.rules), Policies: values(g.policies),
		Sidecars: values(g.sidecars), Gateways: values(g.gateways), Limits: values(g.limits), Workloads: values(g.workloads), Endpoints: live,
	}
	slices.SortStableFunc(w.Services, func(a, b *mesh.Service) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Namespace, b.Namespace))
	})
	return w
}

func values[T any](m map[string]T) []T {
	var out []T
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

func testNodes() []mesh.Node {
	var out []mesh.Node
	for i, ns := range append(slices.Clone(namespaces), "c", "d") { // of the last two nothing is ever said
		n := mesh.Node{Name: fmt.Sprintf("p%d", i), Namespace: ns, IP: fmt.Sprintf("10.3.0.%d", i), Labels: map[string]string{"app": fmt.Sprintf("s%d", i)}, Intercepts: true}
		out = append(out, n.RunsOn(mesh.HostModule, ""))
		n.Name, n.IP, n.Intercepts, n.HTTPProxyPort = n.Name+"x", n.IP+"0", false, 15001
		out = append(out, n.RunsOn([]mesh.FilterHost{mesh.HostNative, mesh.HostModule}[i%2], ""))
	}
	gw := mesh.Node{Name: "gw", Namespace: "a", Gateway: true, IP: "10.3.1.1", Labels: map[string]string{"istio": "gw"}}
	out = append(out, gw.RunsOn(mesh.HostModule, ""))
	for i := range out {
		out[i].ID = out[i].Name
	}
	return out
}

// TestFleetIsTheWholeBuild: over random changes, what a Fleet keeps up is what building everything anew gives.
func TestFleetIsTheWholeBuild(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g, f, nodes := newWorlds(seed), NewFleet(nil), testNodes()
			rare := seed%3 == 0
			for step := range 25 {
				w := g.next(1+g.rnd.IntN(3)+[]int{30, 0}[min(step, 1)], rare)
				for i, n := range nodes {
					if g.rnd.IntN(3) > 0 {
						continue // a proxy that asks later
					}
					got, err := f.Delta(w, n)
					if err != nil {
						t.Fatal(err)
					}
					r, err := xdsgen.NewBuilder().BuildDelta(view.Of(w, n))
					if err != nil {
						t.Fatal(err)
					}
					compare(t, fmt.Sprintf("step %d, node %d (%s)", step, i, n.Namespace), got, r.Sets(true))
				}
			}
		})
	}
}

func compare(t *testing.T, where string, got, want *xdsgen.Sets) {
	t.Helper()
	for _, k := range []struct {
		name      string
		got, want xdsgen.Set
	}{
		{"clusters", got.Clusters, want.Clusters}, {"endpoints", got.Endpoints, want.Endpoints}, {"listeners", got.Listeners, want.Listeners},
		{"routes", got.Routes, want.Routes}, {"virtual hosts", got.VirtualHosts, want.VirtualHosts},
	} {
		for w := range k.want.All() {
			g := k.got.Find(w.Name)
			if g == nil {
				t.Fatalf("%s: %s lack %s", where, k.name, w.Name)
			}
			if g.Version != w.Version {
				t.Fatalf("%s: %s: %s is\n%v\nwant\n%v", where, k.name, w.Name, g.Body, w.Body)
			}
			if !slices.Equal(g.Clusters, w.Clusters) {
				t.Fatalf("%s: %s: %s waits for %v, want %v", where, k.name, w.Name, g.Clusters, w.Clusters)
			}
		}
		if k.got.Len() != k.want.Len() {
			for g := range k.got.All() {
				if k.want.Find(g.Name) == nil {
					t.Fatalf("%s: %s have %s, which is no more", where, k.name, g.Name)
				}
			}
			t.Fatalf("%s: %d %s, want %d: something stands twice", where, k.got.Len(), k.name, k.want.Len())
		}
	}
}

// TestFleetAtOnce: proxies ask while Worlds change, as they please; each gets what its World gives.
func TestFleetAtOnce(t *testing.T) {
	g, f, nodes := newWorlds(5), NewFleet(nil), testNodes()
	w := g.next(40, false)
	for range 8 {
		var wg sync.WaitGroup
		for i := range 4 * len(nodes) {
			wg.Go(func() {
				n := nodes[i%len(nodes)]
				n.ID = fmt.Sprint(n.ID, i)
				got, err := f.Delta(w, n)
				if err != nil || got.Clusters.Len() == 0 {
					t.Errorf("%s: %v", n.ID, err)
				}
			})
		}
		wg.Wait()
		w = g.next(3, false)
	}
	want, err := xdsgen.NewBuilder().BuildDelta(view.Of(w, nodes[0]))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Delta(w, nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "in the end", got, want.Sets(true))
}
