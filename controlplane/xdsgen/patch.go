package xdsgen

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/envoyapi"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// patched is a resource that EnvoyFilters may change.
type patched[M proto.Message] struct {
	res     *Resource
	msg     M
	origins []mesh.Origin // of the patches that changed it; nil: it is as it was built
	gone    bool
}

func (p *patched[M]) change(by *mesh.Patch) {
	if !slices.Contains(p.origins, by.Origin) {
		p.origins = append(p.origins, by.Origin)
	}
}

// patcher applies a view's patches to what was built for it, one after the other: a later one sees what an earlier one did.
type patcher struct {
	view       *mesh.View
	clusters   []*patched[*clusterv3.Cluster]
	listeners  []*patched[*listenerv3.Listener]
	tables     []*patchedTable
	added      []string                 // names of clusters that patches added
	extensions map[string]proto.Message // configurations that EXTENSION_CONFIG patches added, by name: see discovered
}

// patchedTable is a route table: its frame, and the hosts that travel by themselves.
type patchedTable struct {
	frame *patched[*routev3.RouteConfiguration]
	hosts []*patched[*routev3.VirtualHost]
}

// applyPatches changes out as the view's EnvoyFilters say. A patch that fits nothing does nothing, as in Istio.
func applyPatches(v *mesh.View, out *Resources) error {
	p := &patcher{view: v, extensions: map[string]proto.Message{}}
	var err error
	if p.clusters, err = opened(out.Clusters, func() *clusterv3.Cluster { return &clusterv3.Cluster{} }); err != nil {
		return err
	}
	if p.listeners, err = opened(out.Listeners, func() *listenerv3.Listener { return &listenerv3.Listener{} }); err != nil {
		return err
	}
	routes, err := p.openTables(out.Routes, out.VirtualHosts)
	if err != nil {
		return err
	}
	inline, err := p.openTables(out.InlineRoutes, nil)
	if err != nil {
		return err
	}
	for _, patch := range v.Patches {
		p.apply(patch)
	}
	return p.close(out, routes, inline)
}

func opened[M proto.Message](list []*Resource, empty func() M) ([]*patched[M], error) {
	var out []*patched[M]
	for _, r := range list {
		m := empty()
		if err := proto.Unmarshal(r.Body.Value, m); err != nil {
			return nil, err
		}
		out = append(out, &patched[M]{res: r, msg: m})
	}
	return out, nil
}

func (p *patcher) openTables(frames, hosts []*Resource) ([]*patchedTable, error) {
	rs, err := opened(frames, func() *routev3.RouteConfiguration { return &routev3.RouteConfiguration{} })
	if err != nil {
		return nil, err
	}
	var out []*patchedTable
	for _, r := range rs {
		t := &patchedTable{frame: r}
		var own []*Resource
		for _, h := range hosts {
			if h.Table == r.res.Name {
				own = append(own, h)
			}
		}
		if t.hosts, err = opened(own, func() *routev3.VirtualHost { return &routev3.VirtualHost{} }); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	p.tables = append(p.tables, out...)
	return out, nil
}

// apply does one patch. Its value was read when it was decoded; one that cannot be read here is of another version, and left out.
func (p *patcher) apply(patch *mesh.Patch) {
	value := envoyapi.Message(patch.ApplyTo)
	if value == nil {
		return
	}
	if patch.Value != "" {
		var tree map[string]any
		if json.Unmarshal([]byte(patch.Value), &tree) != nil || len(envoyapi.Decode(value, tree)) > 0 {
			return
		}
	}
	switch patch.ApplyTo {
	case "CLUSTER":
		p.cluster(patch, value.(*clusterv3.Cluster))
	case "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE":
		for _, t := range p.tables {
			p.table(t, patch, value)
		}
	case "EXTENSION_CONFIG":
		p.extension(patch, value)
	default:
		p.listener(patch, value)
	}
}

// close writes back what was changed. What names a cluster that is gone waits for it no more.
func (p *patcher) close(out *Resources, routes, inline []*patchedTable) error {
	var err error
	if out.Clusters, err = closed(p, p.clusters); err != nil {
		return err
	}
	if out.Listeners, err = closed(p, p.listeners); err != nil {
		return err
	}
	if out.Routes, out.VirtualHosts, err = p.closeTables(routes); err != nil {
		return err
	}
	if out.InlineRoutes, _, err = p.closeTables(inline); err != nil {
		return err
	}
	have := map[string]*mesh.Cluster{}
	for _, c := range out.Clusters {
		have[c.Name] = &mesh.Cluster{}
	}
	for _, list := range [][]*Resource{out.Listeners, out.Routes, out.VirtualHosts, out.InlineRoutes} {
		for i, r := range list {
			list[i] = existing(r, func(name string) *mesh.Cluster { return have[name] })
		}
	}
	out.Endpoints = slices.DeleteFunc(slices.Clone(out.Endpoints), func(r *Resource) bool { return have[r.Name] == nil })
	return nil
}

func (p *patcher) closeTables(tables []*patchedTable) (frames, hosts []*Resource, err error) {
	for _, t := range tables {
		f, err := closed(p, []*patched[*routev3.RouteConfiguration]{t.frame})
		if err != nil {
			return nil, nil, err
		}
		h, err := closed(p, t.hosts)
		if err != nil {
			return nil, nil, err
		}
		frames, hosts = append(frames, f...), append(hosts, h...)
	}
	return frames, hosts, nil
}

// closed makes resources again. The patches stand first among the origins: if Envoy refuses what they made, they are to blame.
func closed[M proto.Message](p *patcher, list []*patched[M]) ([]*Resource, error) {
	var out []*Resource
	for _, c := range list {
		switch {
		case c.gone:
			continue
		case c.origins == nil:
			out = append(out, c.res)
			continue
		}
		r, err := resource(c.res.Name, c.msg)
		if err != nil {
			return nil, err
		}
		r.Table, r.Origins = c.res.Table, slices.Concat(c.origins, c.res.Origins)
		r.Clusters = slices.Clone(c.res.Clusters)
		for _, name := range p.added {
			if name != r.Name && bytes.Contains(r.Body.Value, []byte(name)) {
				r.Clusters = append(r.Clusters, name)
			}
		}
		r.Clusters = sortedSet(r.Clusters)
		out = append(out, r)
	}
	return out, nil
}

// cluster applies a CLUSTER patch.
func (p *patcher) cluster(patch *mesh.Patch, value *clusterv3.Cluster) {
	if patch.Operation == "ADD" {
		if slices.ContainsFunc(p.clusters, func(c *patched[*clusterv3.Cluster]) bool { return c.res.Name == value.GetName() }) {
			return // there is one of that name: two would be refused together
		}
		p.added = append(p.added, value.GetName())
		p.clusters = append(p.clusters, &patched[*clusterv3.Cluster]{
			res: &Resource{Name: value.GetName()}, msg: value, origins: []mesh.Origin{patch.Origin},
		})
		return
	}
	for _, c := range p.clusters {
		if c.gone || !p.context(patch, inboundCluster(c.res.Name)) || !clusterMatches(patch.Cluster, c.res.Name) {
			continue
		}
		if patch.Operation == "REMOVE" {
			c.gone = true
			continue
		}
		mergeInto(c.msg, value, patch.Operation)
		c.msg.Name = c.res.Name // by which all else knows it
		c.change(patch)
	}
}

func inboundCluster(name string) bool {
	return strings.HasPrefix(name, "inbound|") || name == mesh.InboundPassthroughCluster
}

// context tells whether a patch is for this side of the proxy. Those for gateways or sidecars only have been sorted out before.
func (p *patcher) context(patch *mesh.Patch, inbound bool) bool {
	switch patch.Context {
	case "SIDECAR_INBOUND":
		return inbound
	case "SIDECAR_OUTBOUND":
		return !inbound
	}
	return true
}

// clusterMatches reads the parts of "outbound|9080|v1|host".
func clusterMatches(m *mesh.ClusterMatch, name string) bool {
	if m == nil {
		return true
	}
	if m.Name != "" {
		return m.Name == name
	}
	parts := strings.Split(name, "|")
	if len(parts) != 4 {
		return m.Service == "" && m.Subset == "" && m.Port == 0
	}
	return (m.Service == "" || m.Service == parts[3] || parts[0] == "inbound") && (m.Subset == "" || m.Subset == parts[2]) &&
		(m.Port == 0 || portText(m.Port) == parts[1])
}
