package view_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
)

// bigWorld has services in two namespaces, a rule for each, and subsets.
func bigWorld(services int) *mesh.World {
	w := &mesh.World{
		Settings:  mesh.Settings{DomainSuffix: "cluster.local", RootNamespace: "istio-system", OutboundAny: true},
		Endpoints: map[mesh.EndpointKey][]*mesh.Endpoint{},
	}
	for i := range services {
		ns := []string{"left", "right"}[i%2]
		name := fmt.Sprintf("svc-%04d", i)
		host := name + "." + ns + ".svc.cluster.local"
		w.Services = append(w.Services, &mesh.Service{
			Hostname: host, ShortName: name, Namespace: ns, Selector: map[string]string{"app": name},
			Ports: []*mesh.Port{{Number: 80, TargetPort: 8080, Protocol: mesh.HTTP}},
		})
		w.Policies = append(w.Policies, &mesh.Policy{Namespace: ns, Hostname: host, Subsets: []*mesh.Subset{
			{Name: "v1", Labels: map[string]string{"version": "v1"}}, {Name: "v2", Labels: map[string]string{"version": "v2"}},
		}})
		w.Rules = append(w.Rules, &mesh.HostRules{
			Namespace: ns, Name: name, Hosts: []string{host}, Gateways: []string{mesh.MeshGateway},
			Routes: []*mesh.Route{{Destinations: []*mesh.Destination{
				{Hostname: host, Subset: "v1", Weight: 90}, {Hostname: host, Subset: "v2", Weight: 10},
			}}},
		})
		for v := 1; v <= 2; v++ {
			k := mesh.EndpointKey{Hostname: host, Namespace: ns, Port: 80}
			w.Endpoints[k] = append(w.Endpoints[k], &mesh.Endpoint{
				Address: fmt.Sprintf("10.%d.%d.%d", v, i/250, i%250+1), Port: 8080, Ready: true,
				Labels: map[string]string{"version": fmt.Sprintf("v%d", v)},
			})
		}
	}
	return w
}

func sidecar(i int, namespace string) mesh.Node {
	return mesh.Node{
		Name: fmt.Sprintf("p-%d", i), Namespace: namespace, IP: fmt.Sprintf("10.9.%d.%d", i/250, i%250+1),
		Labels: map[string]string{"app": fmt.Sprintf("svc-%04d", i)}, Intercepts: true, Module: true,
	}
}

// TestViewsShareParts: proxies of one namespace share tables, clusters and endpoints; those of two share the last two.
func TestViewsShareParts(t *testing.T) {
	c := view.NewCache(bigWorld(20))
	a, b, other := c.Of(sidecar(0, "left")), c.Of(sidecar(2, "left")), c.Of(sidecar(1, "right"))
	if table(a, "80") == nil || table(a, "80") != table(b, "80") {
		t.Error("two proxies of a namespace do not share their table")
	}
	if table(a, "80") == table(other, "80") {
		t.Error("proxies of two namespaces share a table: short names differ there")
	}
	shared := map[*mesh.Cluster]bool{}
	for _, cl := range a.Clusters {
		shared[cl] = true
	}
	for _, cl := range other.Clusters {
		if cl.Hostname != "" && !cl.Inbound && !shared[cl] {
			t.Errorf("cluster %s is made anew for another namespace", cl.Name)
		}
	}
	groups := map[*mesh.EndpointGroup]bool{}
	for _, g := range a.Endpoints {
		groups[g] = true
	}
	for _, g := range other.Endpoints {
		if !groups[g] {
			t.Errorf("endpoints of %s are made anew for another namespace", g.Cluster)
		}
	}
}

func table(v *mesh.View, name string) *mesh.RouteTable {
	for _, t := range v.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// TestCacheIsSafe: views may be made at once.
func TestCacheIsSafe(t *testing.T) {
	c := view.NewCache(bigWorld(10))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			n := sidecar(i, []string{"left", "right"}[i%2])
			n.Gateway = i%5 == 0
			if v := c.Of(n); len(v.Clusters) == 0 {
				t.Error("a view without clusters")
			}
		})
	}
	wg.Wait()
}

func BenchmarkViews(b *testing.B) {
	w := bigWorld(500)
	for b.Loop() {
		c := view.NewCache(w)
		for i := range 500 {
			c.Of(sidecar(i, []string{"left", "right"}[i%2]))
		}
	}
}
