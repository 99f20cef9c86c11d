package server

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// envoy is a delta client that behaves as Envoy does: it asks for the endpoints of its clusters and the tables of its
// listeners, forgets what it no longer needs, and acknowledges when it pleases.
type envoy struct {
	t     *testing.T
	rnd   *rand.Rand
	s     *session
	now   time.Time
	have  [kinds]map[string]*xdsgen.Resource
	owed  []*response // not yet answered
	picky bool        // rejects now and then
	bad   map[string]bool
}

func newEnvoy(t *testing.T, seed uint64) *envoy {
	e := &envoy{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), s: newSession(true, limits{ack: time.Hour, linger: time.Second}),
		now: time.Unix(1000, 0), bad: map[string]bool{}}
	for k := range kinds {
		e.have[k] = map[string]*xdsgen.Resource{}
	}
	return e
}

func (e *envoy) ask(k kind, add, drop []string) {
	e.s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResourceNamesSubscribe: add, ResourceNamesUnsubscribe: drop})
}

// run takes what is sent, and answers a random part of what is owed.
func (e *envoy) run(answers int) {
	for range 10 {
		out := e.s.next(e.now)
		for _, r := range out {
			e.take(r)
		}
		if len(out) == 0 {
			break
		}
	}
	for ; answers > 0 && len(e.owed) > 0; answers-- {
		// One type's answers come in order; the types' do not.
		i := e.rnd.IntN(len(e.owed))
		k := e.owed[i].kind
		i = slices.IndexFunc(e.owed, func(r *response) bool { return r.kind == k })
		r := e.owed[i]
		e.owed = slices.Delete(e.owed, i, i+1)
		q := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResponseNonce: r.nonce}
		if why := e.complaint(r); why != "" {
			q.ErrorDetail = &status.Status{Message: why}
		}
		e.s.onDelta(q)
	}
}

// complaint names a resource of the response that the proxy does not like.
func (e *envoy) complaint(r *response) string {
	for _, x := range r.body {
		if e.bad[r.kind.short()+x.Name+x.Version] {
			return x.Name + " is bad"
		}
	}
	return ""
}

// take applies a response and checks that nothing is left without its cluster. Of clusters and
// listeners the bad ones are left out; of other types the whole response is.
func (e *envoy) take(r *response) {
	e.owed = append(e.owed, r)
	if e.picky && len(r.set) > 0 && e.rnd.IntN(8) == 0 {
		x := r.set[e.rnd.IntN(len(r.set))]
		e.bad[r.kind.short()+x.Name+x.Version] = true
	}
	if e.complaint(r) != "" && r.kind != clusters && r.kind != listeners {
		return
	}
	for _, x := range r.body {
		if e.bad[r.kind.short()+x.Name+x.Version] {
			continue
		}
		if r.kind == hosts && e.have[routes][x.Table] == nil {
			e.t.Fatalf("virtual host %s was sent before its table", x.Name)
		}
		_, known := e.have[r.kind][x.Name]
		e.have[r.kind][x.Name] = x
		if r.kind == clusters && !known {
			e.ask(endpoints, []string{x.Name}, nil)
		}
		for _, t := range tables(x) {
			if r.kind == listeners && e.have[routes][t] == nil {
				e.ask(routes, []string{t}, nil)
			}
		}
	}
	for _, name := range r.gone {
		delete(e.have[r.kind], name)
		if r.kind == clusters {
			delete(e.have[endpoints], name)
			e.ask(endpoints, nil, []string{name})
		}
	}
	e.dropTables()
	e.check()
}

// dropTables forgets the tables that no listener names, with their hosts.
func (e *envoy) dropTables() {
	used := map[string]bool{}
	for _, l := range e.have[listeners] {
		for _, t := range tables(l) {
			used[t] = true
		}
	}
	for t := range e.have[routes] {
		if used[t] {
			continue
		}
		delete(e.have[routes], t)
		for name := range e.have[hosts] {
			if hasPrefix(name, t) {
				delete(e.have[hosts], name)
			}
		}
		e.ask(routes, nil, []string{t})
	}
}

func (e *envoy) check() {
	for k := listeners; k < kinds; k++ {
		for _, r := range e.have[k] {
			for _, c := range r.Clusters {
				if e.have[clusters][c] == nil || e.have[endpoints][c] == nil {
					e.t.Fatalf("%s %s names cluster %s, which the proxy does not have whole", k.noun(), r.Name, c)
				}
			}
		}
	}
}

// randomWant makes up resources: clusters with endpoints, two tables, and hosts that name some of the clusters.
func randomWant(rnd *rand.Rand, generation int) *xdsgen.Resources {
	version := func() string {
		if rnd.IntN(3) == 0 {
			return fmt.Sprint(generation)
		}
		return "0"
	}
	w := &xdsgen.Resources{}
	var names []string
	for i := range 6 {
		if rnd.IntN(3) == 0 {
			continue
		}
		n := fmt.Sprintf("c%d", i)
		names = append(names, n)
		w.Clusters = append(w.Clusters, res(n+"@"+version()))
		w.Endpoints = append(w.Endpoints, res(n+"@"+version()))
	}
	for _, table := range []string{"80", "81"} {
		if rnd.IntN(4) == 0 {
			continue
		}
		w.Listeners = append(w.Listeners, listener("l"+table+"@"+version(), table))
		w.Routes = append(w.Routes, res(table+"@"+version()))
		for i := range 4 {
			if len(names) == 0 || rnd.IntN(3) == 0 {
				continue
			}
			c := names[rnd.IntN(len(names))]
			// The version says what is in it, as a hash does.
			w.VirtualHosts = append(w.VirtualHosts, vhost(fmt.Sprintf("%s/h%d@%s-%s", table, i, version(), c), c))
		}
	}
	return w
}

// TestNoRouteWithoutItsCluster drives random changes against a proxy that answers late, in any order, and sometimes with a
// rejection. At no time may it hold a route without the cluster, and in the end it must have exactly what is wanted.
func TestNoRouteWithoutItsCluster(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			e := newEnvoy(t, seed)
			e.picky = seed%2 == 1
			for _, k := range []kind{clusters, listeners, hosts} {
				e.ask(k, nil, nil)
			}
			for g := range 60 {
				e.s.wantAll(randomWant(e.rnd, g+1))
				for range e.rnd.IntN(4) {
					e.run(e.rnd.IntN(4))
					e.now = e.now.Add(time.Duration(e.rnd.IntN(700)) * time.Millisecond)
				}
			}
			e.finish(randomWant(e.rnd, 1000))
		})
	}
}

// sorted is what w wants of a kind.
func sorted(w *xdsgen.Resources, k kind) []*xdsgen.Resource {
	return slices.Collect(setOf(w.Sets(true), k).All())
}

// finish lets everything settle with nothing bad any more, and compares.
func (e *envoy) finish(w *xdsgen.Resources) {
	e.t.Helper()
	e.picky = false
	for k := range kinds {
		for _, r := range sorted(w, k) {
			if e.bad[k.short()+r.Name+r.Version] { // a mended version
				r.Version += "-mended"
			}
		}
	}
	e.s.wantAll(w)
	for range 50 {
		e.run(100)
		e.now = e.now.Add(time.Second)
	}
	if !e.s.acknowledged() || !e.s.quiet() {
		for _, c := range e.s.ch {
			e.t.Logf("%s %+v waits: %v", c.kind.short(), e.s.typeState(c), sortedKeys(c.marked))
		}
		e.t.Fatal("not acknowledged in the end")
	}
	for k := range kinds {
		want := sorted(w, k)
		if len(want) != len(e.have[k]) {
			e.t.Errorf("%s: the proxy has %v, want %s", k.short(), sortedKeys(e.have[k]), join(want))
		}
		for _, r := range want {
			if h := e.have[k][r.Name]; h == nil || h.Version != r.Version {
				e.t.Errorf("%s %s: the proxy has %v, want version %s", k.short(), r.Name, h, r.Version)
			}
		}
	}
}
