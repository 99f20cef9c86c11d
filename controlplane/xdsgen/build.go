package xdsgen

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"weak"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Build makes everything that v's proxy is to have, remembering nothing. Errors mean a view that breaks the model's
// contract, never a user's mistake.
func Build(v *mesh.View) (*Resources, error) { return NewBuilder().Build(v) }

// Builder is Build with a memory: a part that was built before, for this proxy or another, is the same *Resource
// again. It keeps nothing alive: a Resource that nobody holds any more is forgotten, and so is a part of the model.
// Safe for concurrent use.
type Builder struct {
	mu sync.Mutex
	// parts finds what was built by its content.
	parts map[digest]weak.Pointer[Resource]
	// known finds it without looking at the content, for a part of the model that is met again: a partKey to Resource.
	known map[any]*Resource
}

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder {
	return &Builder{parts: map[digest]weak.Pointer[Resource]{}, known: map[any]*Resource{}}
}

// Len is the number of parts remembered, for metrics and tests.
func (b *Builder) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.parts)
}

// Build makes everything that v's proxy is to have.
func (b *Builder) Build(v *mesh.View) (*Resources, error) { return b.build(v, true) }

// BuildDelta is Build without InlineRoutes, which a delta client never sees and which cost the most of all.
func (b *Builder) BuildDelta(v *mesh.View) (*Resources, error) { return b.build(v, false) }

func (b *Builder) build(v *mesh.View, inline bool) (*Resources, error) {
	return b.buildWith(v, inline, func(string) *mesh.Cluster { return nil })
}

// buildWith is build for a view that may name clusters beside its own, which shared knows.
func (b *Builder) buildWith(v *mesh.View, inline bool, shared func(name string) *mesh.Cluster) (*Resources, error) {
	own := make(map[string]*mesh.Cluster, len(v.Clusters))
	for _, c := range v.Clusters {
		own[c.Name] = c
	}
	have := func(name string) *mesh.Cluster {
		if c := own[name]; c != nil {
			return c
		}
		return shared(name)
	}
	s := &session{Builder: b, view: v, have: have, inline: inline}
	for _, step := range []func() error{s.clusters, s.endpoints, s.tables, s.listeners, s.secrets, s.extensions} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("build resources of %s: %w", v.Node.ID, err)
		}
	}
	out := &s.out
	if len(v.Patches) > 0 {
		if err := applyPatches(v, out); err != nil {
			return nil, fmt.Errorf("patch resources of %s: %w", v.Node.ID, err)
		}
	}
	if err := s.emptyHosts(); err != nil {
		return nil, err
	}
	for _, list := range [][]*Resource{out.Clusters, out.Endpoints, out.Listeners, out.Routes, out.VirtualHosts, out.InlineRoutes, out.Secrets} {
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	}
	return out, nil
}

// session is one Build.
type session struct {
	*Builder
	view   *mesh.View
	have   func(name string) *mesh.Cluster // nil: the proxy has none of that name
	inline bool
	out    Resources
}

func (s *session) clusters() error {
	for _, c := range s.view.Clusters {
		r, err := s.cluster(c, s.view.Node, s.view.Settings)
		if err != nil {
			return err
		}
		s.out.Clusters = append(s.out.Clusters, r)
	}
	return nil
}

func (b *Builder) cluster(c *mesh.Cluster, n mesh.Node, set mesh.Settings) (*Resource, error) {
	ctx := clusterContext{Families: n.Families, ConnectTimeout: set.ConnectTimeout, DNSRefresh: set.DNSRefresh}
	if set.Proxy != nil {
		ctx.Buffer, ctx.KeepHeaderCase = set.Proxy.Connections.ClusterBuffer, set.Proxy.KeepHeaderCase
	}
	if c.Inbound {
		ctx.AppAddress = n.AppAddress
	}
	return recall(b, "cluster", c, ctx, func() (*Resource, error) {
		return memo(b, "cluster", clusterInput{c, ctx}, buildCluster)
	})
}

func (b *Builder) endpointsOf(g *mesh.EndpointGroup) (*Resource, error) {
	return recall(b, "endpoints", g, struct{}{}, func() (*Resource, error) {
		return memo(b, "endpoints", g, buildEndpoints)
	})
}

func (s *session) endpoints() error {
	for _, g := range s.view.Endpoints {
		if c := s.have(g.Cluster); c == nil || !usesEDS(c) {
			continue
		}
		r, err := s.endpointsOf(g)
		if err != nil {
			return err
		}
		s.out.Endpoints = append(s.out.Endpoints, r)
	}
	return nil
}

func (s *session) listeners() error {
	v := s.view
	dynamic := slices.ContainsFunc(v.Clusters, func(c *mesh.Cluster) bool { return c.Kind == mesh.ClusterDynamicDNS })
	if p := s.have(mesh.PassthroughCluster); p != nil && p.Kind == mesh.ClusterDynamicDNS {
		dynamic = true // if one is, this one is
	}
	for _, l := range v.Listeners {
		in := s.listenerInput(l, dynamic)
		if limits := v.Settings.LimitService; limits != nil && in.Host == mesh.HostNative {
			in.AsksLimits, in.LimitTimeout = true, limits.Timeout
		}
		if c := s.have(l.Cluster); c != nil && c.Traffic != nil {
			if in.Tunnel = c.Traffic.Tunnel; c.Traffic.Pool != nil {
				in.TCPIdleTimeout = c.Traffic.Pool.TCPIdleTimeout
			}
		}
		r, err := memo(s.Builder, "listener", in, buildListener)
		if err != nil {
			return err
		}
		s.out.Listeners = append(s.out.Listeners, existing(r, s.have))
	}
	return nil
}

// listenerInput is what a listener is made of, as far as its view alone says.
func (s *session) listenerInput(l *mesh.Listener, dynamic bool) listenerInput {
	v := s.view
	in := listenerInput{
		Listener: l, Gateway: v.Node.Gateway, Intercepts: v.Node.Intercepts, Families: v.Node.Families, Host: v.Node.Host(), Wasm: v.Node.Wasm, Library: v.Node.Golang, DynamicDNS: dynamic || l.DynamicDNS,
		Identity: v.Node.Identity, DetectTimeout: v.Settings.DetectTimeout, Modules: v.Node.Modules, ModuleServer: v.Settings.ModuleServer,
		Paths: v.Settings.Paths, MeshTLS: v.Settings.MeshTLS,
	}
	if v.Settings.Proxy != nil {
		in.Proxy = *v.Settings.Proxy
	}
	return in
}

func (s *session) tables() error {
	for _, t := range s.view.Tables {
		ctx := newTableContext(s.view.Node, s.view.Settings)
		if whole := !splits(t); whole || s.inline {
			r, err := recall(s.Builder, "inline", t, ctx, func() (*Resource, error) {
				return memo(s.Builder, "inline", tableInput{t, ctx}, buildInlineTable)
			})
			if err != nil {
				return err
			}
			r = existing(r, s.have)
			s.out.InlineRoutes = append(s.out.InlineRoutes, r)
			if whole {
				s.out.Routes = append(s.out.Routes, r)
				continue
			}
		}
		if err := s.split(t, ctx); err != nil {
			return err
		}
	}
	if !s.inline {
		s.out.InlineRoutes = nil
	}
	return nil
}

// split makes a table's frame and its virtual hosts.
func (s *session) split(t *mesh.RouteTable, ctx tableContext) error {
	bare := *t
	bare.VirtualHosts = nil
	r, err := memo(s.Builder, "table", tableInput{&bare, ctx}, buildFrame)
	if err != nil {
		return err
	}
	s.out.Routes = append(s.out.Routes, existing(r, s.have))
	sc := newScope(tableInput{t, ctx})
	for _, h := range t.VirtualHosts {
		r, err := s.host(h, sc)
		if err != nil {
			return err
		}
		s.out.VirtualHosts = append(s.out.VirtualHosts, existing(r, s.have))
	}
	return nil
}

// emptyHosts gives the split tables without a virtual host, perhaps for a patch took the last one, the mesh.EmptyHost.
func (s *session) emptyHosts() error {
	has := map[string]bool{}
	for _, h := range s.out.VirtualHosts {
		has[h.Table] = true
	}
	for _, t := range s.view.Tables {
		if !splits(t) || has[t.Name] {
			continue
		}
		r, err := memo(s.Builder, "empty host", t.Name, buildEmptyHost)
		if err != nil {
			return fmt.Errorf("build resources of %s: %w", s.view.Node.ID, err)
		}
		s.out.VirtualHosts = append(s.out.VirtualHosts, r)
	}
	return nil
}

func (b *Builder) host(h *mesh.VirtualHost, sc scope) (*Resource, error) {
	return recall(b, "host", h, sc, func() (*Resource, error) {
		return memo(b, "host", hostInput{h, sc}, buildVirtualHost)
	})
}

// existing is r with Clusters cut down to those that the proxy has; r itself if it has them all.
func existing(r *Resource, have func(name string) *mesh.Cluster) *Resource {
	if !slices.ContainsFunc(r.Clusters, func(c string) bool { return have(c) == nil }) {
		return r
	}
	cut := *r
	cut.Clusters = nil
	for _, c := range r.Clusters {
		if have(c) != nil {
			cut.Clusters = append(cut.Clusters, c)
		}
	}
	return &cut
}

// sortedSet sorts and removes duplicates and empty strings.
func sortedSet(in []string) []string {
	sort.Strings(in)
	in = slices.Compact(in)
	return slices.DeleteFunc(in, func(s string) bool { return strings.TrimSpace(s) == "" })
}
