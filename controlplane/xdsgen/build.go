package xdsgen

import (
	"fmt"
	"runtime"
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
// again. It keeps nothing alive: a Resource that nobody holds any more is forgotten. Safe for concurrent use.
type Builder struct {
	mu    sync.Mutex
	parts map[digest]weak.Pointer[Resource]
}

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder { return &Builder{parts: map[digest]weak.Pointer[Resource]{}} }

// Len is the number of parts remembered, for metrics and tests.
func (b *Builder) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.parts)
}

// Build makes everything that v's proxy is to have.
func (b *Builder) Build(v *mesh.View) (*Resources, error) {
	out := &Resources{}
	have := make(map[string]*mesh.Cluster, len(v.Clusters))
	for _, c := range v.Clusters {
		have[c.Name] = c
	}
	steps := []func(*Resources, *mesh.View, map[string]*mesh.Cluster) error{
		b.clusters, b.endpoints, b.tables, b.listeners,
	}
	for _, step := range steps {
		if err := step(out, v, have); err != nil {
			return nil, fmt.Errorf("build resources of %s: %w", v.Node.ID, err)
		}
	}
	for _, list := range [][]*Resource{out.Clusters, out.Endpoints, out.Listeners, out.Routes, out.VirtualHosts, out.InlineRoutes} {
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	}
	return out, nil
}

// memo returns the Resource made of in before, or makes it. make must be a function of in alone: in is the cache key,
// and a free variable would be a key that nobody declared.
func memo[T any](b *Builder, kind string, in T, make func(T) (*Resource, error)) (*Resource, error) {
	key, err := digestOf(kind, in)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	known := b.parts[key].Value()
	b.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := make(in)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known = b.parts[key].Value(); known != nil {
		return known, nil
	}
	b.parts[key] = weak.Make(made)
	runtime.AddCleanup(made, b.forget, key)
	return made, nil
}

// forget drops a part whose Resource was collected, unless it has been made again since.
func (b *Builder) forget(key digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts[key].Value() == nil {
		delete(b.parts, key)
	}
}

func (b *Builder) clusters(out *Resources, v *mesh.View, _ map[string]*mesh.Cluster) error {
	for _, c := range v.Clusters {
		in := clusterInput{Cluster: c, ConnectTimeout: v.Settings.ConnectTimeout}
		if c.Inbound {
			in.AppAddress = v.Node.AppAddress
		}
		r, err := memo(b, "cluster", in, buildCluster)
		if err != nil {
			return err
		}
		out.Clusters = append(out.Clusters, r)
	}
	return nil
}

func (b *Builder) endpoints(out *Resources, v *mesh.View, have map[string]*mesh.Cluster) error {
	for _, g := range v.Endpoints {
		if c := have[g.Cluster]; c == nil || !usesEDS(c) {
			continue
		}
		r, err := memo(b, "endpoints", g, buildEndpoints)
		if err != nil {
			return err
		}
		out.Endpoints = append(out.Endpoints, r)
	}
	return nil
}

func (b *Builder) listeners(out *Resources, v *mesh.View, have map[string]*mesh.Cluster) error {
	dynamic := slices.ContainsFunc(v.Clusters, func(c *mesh.Cluster) bool { return c.Kind == mesh.ClusterDynamicDNS })
	for _, l := range v.Listeners {
		in := listenerInput{
			Listener: l, Gateway: v.Node.Gateway, Intercepts: v.Node.Intercepts, Module: v.Node.Module, DynamicDNS: dynamic,
			AccessLogFile: v.Settings.AccessLogFile, AccessLogFormat: v.Settings.AccessLogFormat,
		}
		if c := have[l.Cluster]; c != nil && c.Traffic != nil && c.Traffic.Pool != nil {
			in.TCPIdleTimeout = c.Traffic.Pool.TCPIdleTimeout
		}
		r, err := memo(b, "listener", in, buildListener)
		if err != nil {
			return err
		}
		out.Listeners = append(out.Listeners, existing(r, have))
	}
	return nil
}

func (b *Builder) tables(out *Resources, v *mesh.View, have map[string]*mesh.Cluster) error {
	for _, t := range v.Tables {
		in := tableInput{Table: t, Module: v.Node.Module, Retries: v.Settings.DefaultRetries}
		inline, err := memo(b, "inline", in, buildInlineTable)
		if err != nil {
			return err
		}
		out.InlineRoutes = append(out.InlineRoutes, existing(inline, have))
		if !splits(t) {
			out.Routes = append(out.Routes, existing(inline, have))
			continue
		}
		frame := in
		bare := *t
		bare.VirtualHosts = nil
		frame.Table = &bare
		r, err := memo(b, "table", frame, buildFrame)
		if err != nil {
			return err
		}
		out.Routes = append(out.Routes, existing(r, have))
		for _, h := range t.VirtualHosts {
			r, err := memo(b, "host", hostInput{Host: h, Scope: newScope(in)}, buildVirtualHost)
			if err != nil {
				return err
			}
			out.VirtualHosts = append(out.VirtualHosts, existing(r, have))
		}
	}
	return nil
}

// existing is r with Clusters cut down to those that the proxy has; r itself if it has them all.
func existing(r *Resource, have map[string]*mesh.Cluster) *Resource {
	if !slices.ContainsFunc(r.Clusters, func(c string) bool { return have[c] == nil }) {
		return r
	}
	cut := *r
	cut.Clusters = nil
	for _, c := range r.Clusters {
		if have[c] != nil {
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
