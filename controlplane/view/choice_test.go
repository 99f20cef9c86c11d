package view_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// TestChoiceEqualsFirstMatch: on random rules and random requests, the route that Mizzen's canary chooses is the one that
// Envoy would take by its own matching, the first; the side is one of that route's.
func TestChoiceEqualsFirstMatch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	tokens := map[string]int{}
	for range 200 {
		vh := virtualHost(t, randomRules(r))
		if vh.Canary == nil {
			continue // nothing to choose
		}
		policy, err := canary.New(*vh.Canary, nil)
		if err != nil {
			t.Fatalf("canary refuses its configuration: %v", err)
		}
		for range 50 {
			lines := randomRequest(r)
			want := firstMatch(t, vh, filtertest.Headers(lines...))
			x := filtertest.NewExchange(lines...)
			policy.Request(x)
			token, _ := x.Request.Get(canary.RouteHeader)
			got := chosen(t, vh, token)
			tokens[token]++
			switch {
			case (want == nil) != (got == nil):
				t.Fatalf("request %q: Envoy matches %v, canary chooses %q", lines, want, token)
			case want == nil:
			case got.Route != want.Route || got.Match != want.Match:
				t.Fatalf("request %q: canary chooses %q, which is another route than the first that matches", lines, token)
			case len(got.Clusters) > 0 && !leadsThere(want, got.Clusters[0].Cluster):
				t.Fatalf("request %q: %q leads to %s, which is no side of the route", lines, token, got.Clusters[0].Cluster)
			}
		}
	}
	if len(tokens) < 20 || tokens[""] == 0 {
		t.Errorf("the random rules are too dull to show anything: %v", tokens)
	}
}

func leadsThere(r *mesh.BoundRoute, cluster string) bool {
	for _, c := range r.Clusters {
		if c.Cluster == cluster {
			return true
		}
	}
	return false
}

// firstMatch plays Envoy: the first route in order, choices apart.
func firstMatch(t *testing.T, vh *mesh.VirtualHost, h *filter.Headers) *mesh.BoundRoute {
	for _, b := range vh.Routes {
		if b.Choice != "" {
			continue
		}
		if b.Match == nil {
			return b
		}
		m, err := match.Compile(b.Match.Request)
		if err != nil {
			t.Fatalf("compile match: %v", err)
		}
		if m.Matches(h) {
			return b
		}
	}
	return nil
}

// chosen finds the route of a token; there must be exactly one.
func chosen(t *testing.T, vh *mesh.VirtualHost, token string) *mesh.BoundRoute {
	if token == "" {
		return nil
	}
	var found *mesh.BoundRoute
	for _, b := range vh.Routes {
		if b.Choice != token {
			continue
		}
		if found != nil {
			t.Fatalf("two routes for token %q", token)
		}
		found = b
	}
	if found == nil {
		t.Fatalf("no route for token %q", token)
	}
	return found
}

const host = "a.default.svc.cluster.local"

func virtualHost(t *testing.T, rules *mesh.HostRules) *mesh.VirtualHost {
	w := &mesh.World{
		Settings: mesh.Settings{DomainSuffix: "cluster.local", OutboundAny: true},
		Services: []*mesh.Service{{Hostname: host, ShortName: "a", Namespace: "default", Ports: []*mesh.Port{{Number: 80, Protocol: mesh.HTTP}}}},
		Rules:    []*mesh.HostRules{rules},
		Policies: []*mesh.Policy{{Namespace: "default", Hostname: host, Subsets: []*mesh.Subset{{Name: "v0"}, {Name: "v1"}, {Name: "v2"}}}},
	}
	v := view.Of(w, mesh.Node{Namespace: "default", Labels: map[string]string{"app": "x"}, HTTPProxyPort: 15001, Module: true})
	for _, table := range v.Tables {
		for _, vh := range table.VirtualHosts {
			return vh
		}
	}
	t.Fatal("the view has no virtual host")
	return nil
}

func randomRules(r *rand.Rand) *mesh.HostRules {
	rules := &mesh.HostRules{Namespace: "default", Name: "a", Hosts: []string{host}, Gateways: []string{mesh.MeshGateway}}
	for range 1 + r.IntN(4) {
		route := &mesh.Route{}
		for range r.IntN(4) {
			route.Matches = append(route.Matches, randomMatch(r))
		}
		switch r.IntN(8) {
		case 0:
			route.Redirect = &mesh.Redirect{Path: "/"}
		case 1:
			route.Direct = &mesh.DirectResponse{Status: 200}
		default:
			for i := range 1 + r.IntN(3) {
				route.Destinations = append(route.Destinations, &mesh.Destination{
					Hostname: host, Subset: fmt.Sprintf("v%d", i), Weight: uint32(r.IntN(3)),
				})
			}
			route.Destinations[0].Weight++ // not all 0
		}
		rules.Routes = append(rules.Routes, route)
	}
	return rules
}

var words = []string{"/", "/a", "/a/b", "/b", "x", "y", "GET", "POST"}

func randomMatch(r *rand.Rand) *mesh.Match {
	m := &mesh.Match{}
	if r.IntN(2) == 0 {
		m.Request.Path = randomString(r, words[:4])
	}
	if r.IntN(3) == 0 {
		m.Request.Method = randomString(r, words[6:])
	}
	for _, name := range []string{"h1", "h2"} {
		if r.IntN(3) == 0 {
			s := randomString(r, words[4:6])
			s.Invert = r.IntN(3) == 0
			s.AbsentAsEmpty = s.Invert
			m.Request.Headers = append(m.Request.Headers, match.Named{Name: name, String: *s})
		}
	}
	if r.IntN(4) == 0 {
		m.Request.Query = []match.Named{{Name: "q", String: *randomString(r, words[4:6])}}
	}
	if r.IntN(6) == 0 {
		m.SourceLabels = map[string]string{"app": words[4+r.IntN(2)]}
	}
	return m
}

func randomString(r *rand.Rand, from []string) *match.String {
	w := from[r.IntN(len(from))]
	switch r.IntN(3) {
	case 0:
		return &match.String{Exact: &w}
	case 1:
		return &match.String{Prefix: &w}
	}
	w += ".*"
	return &match.String{Regex: &w}
}

func randomRequest(r *rand.Rand) []string {
	path := words[r.IntN(4)]
	if r.IntN(3) == 0 {
		path += "?q=" + words[4+r.IntN(2)]
	}
	out := []string{":method: " + words[6+r.IntN(2)], ":path: " + path, ":authority: a", ":scheme: http"}
	for _, name := range []string{"h1", "h2"} {
		if r.IntN(2) == 0 {
			out = append(out, name+": "+words[4+r.IntN(2)])
		}
	}
	return out
}
