package run

import (
	"reflect"
	"sync"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// Fleet makes what proxies are to have, for one World after another. What a change does not touch is neither made nor looked at
// again: proxies that see the same share lists, which a change mends in the places of the hosts that it bears on. Safe for
// concurrent use.
type Fleet struct {
	parts *xdsgen.Builder
	// asked is told what runs the policies in each proxy that asks. Not nil.
	asked func(mesh.FilterHost)
	// as is a proxy as a World knows it; nil: as it says.
	as func(*mesh.World, mesh.Node) mesh.Node

	mu      sync.RWMutex // taken whole to take up a World
	tracker *view.Tracker
	serial  uint64 // of World
	owns    uint64 // serial of the last World in which what is a proxy's own may have changed

	maps   sync.Mutex // guards the maps
	shares map[*view.Group]*share
	own    map[string]*own             // by node id
	names  map[string]*xdsgen.Resource // of World named, by what the proxies may see
	named  uint64                      // a serial
}

// share is what the proxies of a group have in common.
type share struct {
	once  sync.Once
	err   error
	lists xdsgen.Lists
}

// own is what one proxy has beside that.
type own struct {
	node       mesh.Node
	group      *view.Group
	made, used uint64 // serials
	lists      xdsgen.Lists
}

// NewFleet returns a Fleet that has seen no World. asked, if not nil, is told what runs the policies in each proxy that asks.
func NewFleet(asked func(mesh.FilterHost)) *Fleet {
	if asked == nil {
		asked = func(mesh.FilterHost) {}
	}
	return &Fleet{
		asked: asked, parts: xdsgen.NewBuilder(), tracker: view.NewTracker(), shares: map[*view.Group]*share{}, own: map[string]*own{},
	}
}

// Build makes everything for one proxy of any protocol, from nothing but the World: the Build of server.Options.
func (f *Fleet) Build(w *mesh.World, n mesh.Node, delta bool) (*xdsgen.Resources, error) {
	n = f.known(w, n)
	f.asked(n.Host())
	f.follow(w)
	f.mu.RLock()
	defer f.mu.RUnlock()
	v := f.tracker.View(n)
	if delta {
		return f.parts.BuildDelta(v)
	}
	return f.parts.Build(v)
}

// Delta makes what one proxy is to have over the incremental protocol: the Delta of server.Options.
func (f *Fleet) Delta(w *mesh.World, n mesh.Node) (*xdsgen.Sets, error) {
	n = f.known(w, n)
	f.follow(w)
	if n.Gateway || f.patched(n) {
		r, err := f.Build(w, n, true)
		if err != nil {
			return nil, err
		}
		return r.Sets(true), nil
	}
	f.asked(n.Host())
	f.mu.RLock()
	defer f.mu.RUnlock()
	g, _ := f.tracker.Group(n)
	s := f.shareOf(g)
	if s.err != nil {
		return nil, s.err
	}
	o, err := f.ownOf(g, n)
	if err != nil {
		return nil, err
	}
	return xdsgen.Join(s.lists, o.lists), nil
}

func (f *Fleet) known(w *mesh.World, n mesh.Node) mesh.Node {
	if f.as == nil {
		return n
	}
	return f.as(w, n)
}

// patched tells whether EnvoyFilters change what a proxy is given: it shares nothing then.
func (f *Fleet) patched(n mesh.Node) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tracker.Patched(n)
}

// follow takes up a World, if it is another than before.
func (f *Fleet) follow(w *mesh.World) {
	f.mu.RLock()
	same := f.tracker.World() == w
	f.mu.RUnlock()
	if same {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tracker.World() == w {
		return
	}
	ch := f.tracker.Advance(w)
	f.serial++
	if ch.Own {
		f.owns = f.serial
	}
	for g, s := range f.shares {
		if s.err != nil || !f.tracker.Has(g) || !f.mend(g, s, ch) {
			f.tracker.Drop(g)
			delete(f.shares, g)
		}
	}
	for id, o := range f.own {
		if o.used+2 < f.serial {
			delete(f.own, id)
		}
	}
}

// mend takes a change into what a group shares. False: it has to be made anew.
func (f *Fleet) mend(g *view.Group, s *share, ch view.Change) bool {
	p, ok := f.tracker.Patch(g, ch)
	if !ok {
		return false
	}
	parts := f.of(g)
	var clusters, endpoints, hosts, secrets []*xdsgen.Resource
	for _, c := range p.Clusters {
		r, err := parts.Cluster(c)
		if err != nil {
			return false
		}
		clusters = append(clusters, r)
		files, err := parts.Secrets(c)
		if err != nil {
			return false
		}
		secrets = append(secrets, files...)
	}
	for _, e := range p.Endpoints {
		r, err := parts.Endpoints(e)
		if err != nil {
			return false
		}
		if r != nil {
			endpoints = append(endpoints, r)
		}
	}
	for _, h := range p.Hosts {
		r, err := parts.VirtualHost(h.Table, h.Host)
		if err != nil {
			return false
		}
		hosts = append(hosts, r)
	}
	l := &s.lists
	l.Clusters = l.Clusters.With(clusters, left(p.ClustersBefore, clusters))
	l.Secrets = l.Secrets.With(secrets, nil) // one that nobody names any more is a path, and does no harm
	l.Endpoints = l.Endpoints.With(endpoints, left(p.ClustersBefore, endpoints))
	l.VirtualHosts = l.VirtualHosts.With(hosts, left(p.HostsBefore, hosts))
	return true
}

// left are the names that no resource has any more.
func left(names []string, now []*xdsgen.Resource) []string {
	have := make(map[string]bool, len(now))
	for _, r := range now {
		have[r.Name] = true
	}
	var out []string
	for _, n := range names {
		if !have[n] {
			out = append(out, n)
		}
	}
	return out
}

func (f *Fleet) of(g *view.Group) xdsgen.Parts {
	return xdsgen.Parts{Builder: f.parts, Node: g.Node(), Settings: g.Settings(), Have: g.Cluster}
}

// shareOf finds or makes what a group shares.
func (f *Fleet) shareOf(g *view.Group) *share {
	f.maps.Lock()
	s := f.shares[g]
	if s == nil {
		s = &share{}
		f.shares[g] = s
	}
	f.maps.Unlock()
	s.once.Do(func() {
		var r *xdsgen.Resources
		if r, s.err = f.parts.BuildDelta(g.Whole()); s.err != nil {
			return
		}
		s.lists = r.Lists(true)
	})
	return s
}

// ownOf finds or makes what is a proxy's alone.
func (f *Fleet) ownOf(g *view.Group, n mesh.Node) (*own, error) {
	f.maps.Lock()
	o := f.own[n.ID]
	if o != nil && o.group == g && o.made >= f.owns && reflect.DeepEqual(o.node, n) {
		o.used = f.serial
		f.maps.Unlock()
		return o, nil
	}
	f.maps.Unlock()
	r, err := f.of(g).Own(f.tracker.Own(g, n))
	if err != nil {
		return nil, err
	}
	o = &own{node: n, group: g, made: f.serial, used: f.serial, lists: r.Lists(true)}
	f.maps.Lock()
	defer f.maps.Unlock()
	f.own[n.ID] = o
	return o, nil
}
