package server

import (
	"slices"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// filtered is a world with EnvoyFilters, each of a value.
func filtered(values ...string) *mesh.World {
	w := world("1")
	for _, v := range values {
		name, _, _ := strings.Cut(v, "=")
		o := mesh.Origin{Kind: "EnvoyFilter", Namespace: "default", Name: name, File: name + ".yaml", Line: 3}
		w.Filters = append(w.Filters, &mesh.EnvoyFilter{Namespace: "default", Name: name, Origin: o, Patches: []*mesh.Patch{{Value: v, Origin: o}}})
	}
	return w
}

// patchedListener is one listener that the filters, as far as the node is not without them, have a hand in: its version says which.
func patchedListener(t *testing.T) func(*mesh.World, mesh.Node, bool) (*xdsgen.Resources, error) {
	return func(w *mesh.World, n mesh.Node, _ bool) (*xdsgen.Resources, error) {
		l := res("l@")
		l.Origins = nil
		for _, f := range w.Filters {
			if !slices.Contains(n.Without, view.FilterKey(f)) {
				l.Version += f.Patches[0].Value + " "
				l.Origins = append(l.Origins, f.Origin)
			}
		}
		l.Body = anyOf(t, &listenerv3.Listener{Name: "l"})
		return &xdsgen.Resources{Listeners: []*xdsgen.Resource{l}}, nil
	}
}

// TestFreshProxyGoesWithoutTheGuilty: of several EnvoyFilters only those are left out without which Envoy accepts, and a proxy that has an
// older version of one keeps that.
func TestFreshProxyGoesWithoutTheGuilty(t *testing.T) {
	for _, c := range []struct {
		name, filters, left, without string
	}{
		{"one", "a=bad", "", "a"},
		{"the last of three", "a b c=bad", "a b", "c"},
		{"two of three", "a=bad b c=bad", "", "a b c"},
		{"a guard", "a=bad.rbac.", "a=bad.rbac.", ""},
		{"a guard beside another", "a=bad.rbac. b", "a=bad.rbac.", "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cl := serve(t, Options{Build: patchedListener(t)})
			s.Publish(filtered(strings.Fields(c.filters)...))
			d := dial(t, cl)
			d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url()})
			d.ack(clusters, d.recv(clusters).Nonce)
			d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners.url()})
			version := ""
			for range 6 { // as often as it may be tried at most
				r := d.recv(listeners)
				version = strings.TrimSpace(r.Resources[0].Version)
				if !strings.Contains(version, "bad") {
					d.ack(listeners, r.Nonce)
					break
				}
				d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners.url(), ResponseNonce: r.Nonce, ErrorDetail: &status.Status{Message: "l: no good"}})
				if version == c.left {
					break
				}
			}
			if version != c.left {
				t.Fatalf("ends with %q, want %q", version, c.left)
			}
			var without []string
			settle(t, s, "told", func(p []ProxyStatus) bool {
				without = nil
				for _, d := range s.Diagnostics() {
					if d.Code == CodeLeftOut && d.Position.File == d.Object.Name+".yaml" && d.Position.Line == 3 {
						without = append(without, d.Object.Name)
					}
				}
				return len(p) == 1 && len(p[0].Without) == len(strings.Fields(c.without)) && strings.Join(without, " ") == c.without
			})
		})
	}
}
