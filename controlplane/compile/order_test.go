package compile_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestOrderOfInput: shuffled input gives the same views and diagnostics.
func TestOrderOfInput(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range golden.Load(t, corpus) {
		t.Run(c.Name, func(t *testing.T) {
			set, _ := inputs(c)
			want := encode(t, run(t, c, set))
			for range 5 {
				if got := encode(t, run(t, c, shuffled(set, r))); got != want {
					t.Fatalf("another order of the input gives another output:\n%s", golden.Diff(want, got))
				}
			}
		})
	}
}

func encode(t *testing.T, o outcome) string {
	b, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(b)
}

func shuffled(s istio.Set, r *rand.Rand) istio.Set {
	s.VirtualServices = shuffle(s.VirtualServices, r)
	s.DestinationRules = shuffle(s.DestinationRules, r)
	s.Gateways = shuffle(s.Gateways, r)
	s.ServiceEntries = shuffle(s.ServiceEntries, r)
	s.WorkloadEntries = shuffle(s.WorkloadEntries, r)
	s.Sidecars = shuffle(s.Sidecars, r)
	s.RateLimits = shuffle(s.RateLimits, r)
	s.Services = shuffle(s.Services, r)
	s.Pods = shuffle(s.Pods, r)
	s.Endpoints = shuffle(s.Endpoints, r)
	s.EndpointSlices = shuffle(s.EndpointSlices, r)
	s.Workloads = shuffle(s.Workloads, r)
	return s
}

func shuffle[T any](in []T, r *rand.Rand) []T {
	out := slices.Clone(in)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestCorpusBuilds: what the view of any case says can be said to Envoy, and every cluster that a route needs is there.
func TestCorpusBuilds(t *testing.T) {
	for _, c := range golden.Load(t, corpus) {
		set, _ := inputs(c)
		for name, v := range run(t, c, set).Views {
			if _, err := xdsgen.Build(v); err != nil {
				t.Errorf("%s %s: %v", c.Name, name, err)
			}
			for _, missing := range dangling(v) {
				t.Errorf("%s %s: a route leads to cluster %s, which is neither there nor marked missing", c.Name, name, missing)
			}
		}
	}
}

func dangling(v *mesh.View) (out []string) {
	have := map[string]bool{}
	for _, cl := range v.Clusters {
		have[cl.Name] = true
	}
	for _, t := range v.Tables {
		hosts := t.VirtualHosts
		if t.CatchAll != nil {
			hosts = append(slices.Clone(hosts), t.CatchAll)
		}
		for _, h := range hosts {
			for _, r := range h.Routes {
				for _, w := range r.Clusters {
					if have[w.Cluster] == w.Missing {
						out = append(out, w.Cluster)
					}
				}
				for _, m := range r.Mirrors {
					if !have[m.Cluster] {
						out = append(out, m.Cluster)
					}
				}
			}
		}
	}
	return out
}

// TestEmptySet: nothing configured is a working mesh of nothing.
func TestEmptySet(t *testing.T) {
	w, diags := compile.World(compile.Inputs{})
	if len(diags) > 0 {
		t.Errorf("diagnostics of an empty set: %v", diags)
	}
	for _, n := range []mesh.Node{{}, {Gateway: true}, {Intercepts: true}, {HTTPProxyPort: 15001, Module: true}} {
		if _, err := xdsgen.Build(view.Of(w, n)); err != nil {
			t.Errorf("node %+v: %v", n, err)
		}
	}
}
