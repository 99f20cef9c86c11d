package compile_test

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/internal/golden"
	"go.yaml.in/yaml/v3"
)

const corpus = "../testdata/compile"

// nodeFile is node.yaml of a case: the proxy, and which parts of its view the case is about.
type nodeFile struct {
	Name       string            `yaml:"name"`
	Namespace  string            `yaml:"namespace"`
	IP         string            `yaml:"ip"`
	Labels     map[string]string `yaml:"labels"`
	Gateway    bool              `yaml:"gateway"`
	Intercepts bool              `yaml:"intercepts"`
	NoModule   bool              `yaml:"noModule"`
	Identity   bool              `yaml:"identity"` // an agent beside it serves its certificate
	NoBind     bool              `yaml:"nobind"`   // a gateway that no one tells where to bind
	Ports      map[uint32]uint32 `yaml:"ports"`
	PodPorts   map[string]uint32 `yaml:"podPorts"` // that the proxy itself says
	AppAddress string            `yaml:"appAddress"`
	Metadata   map[string]string `yaml:"metadata"`
	// Show names the parts that view.yaml holds: settings, patches, listeners, tables, clusters, endpoints; and globs of the
	// names of tables' virtual hosts, clusters and endpoint groups as table:GLOB, host:GLOB, cluster:GLOB. Without any: all.
	Show []string `yaml:"show"`
}

func (f nodeFile) node() mesh.Node {
	n := mesh.Node{
		Name: f.Name, Namespace: f.Namespace, IP: f.IP, Labels: f.Labels, Gateway: f.Gateway, Intercepts: f.Intercepts,
		Ports: f.Ports, PodPorts: f.PodPorts, AppAddress: f.AppAddress, Module: !f.NoModule, Identity: f.Identity, Metadata: f.Metadata,
		Modules: "/var/lib/mizzen/modules",
	}
	if n.Namespace == "" {
		n.Namespace = "default"
	}
	if n.Name == "" {
		n.Name = "client-0"
	}
	if n.IP == "" {
		n.IP = "127.1.0.1"
	}
	n.Families = mesh.FamiliesOf(append(strings.Split(n.Metadata["INSTANCE_IPS"], ","), n.IP))
	kind := "sidecar"
	switch {
	case n.Gateway:
		if kind = "router"; !f.NoBind {
			n.BindAddress = "127.0.0.1"
		}
	case !n.Intercepts:
		n.HTTPProxyPort = 15001
	}
	n.Domain = n.Namespace + ".svc.cluster.local"
	n.ID = kind + "~" + n.IP + "~" + n.Name + "." + n.Namespace + "~" + n.Domain
	return n
}

// outcome is all that a case comes to.
type outcome struct {
	Views       map[string]*mesh.View // by file name
	Modules     []*mesh.Module        // that plugins run
	Diagnostics istio.Diagnostics
}

// inputs are the YAML files that are neither nodes nor views.
func inputs(c *golden.Case) (istio.Set, istio.Diagnostics) {
	var sets []istio.Set
	var diags istio.Diagnostics
	for _, f := range c.Archive.Files {
		if !isInput(f.Name) {
			continue
		}
		s, ds := istio.Decode(f.Name, bytes.NewReader(f.Data))
		sets, diags = append(sets, s), append(diags, ds...)
	}
	s, ds := istio.Merge(sets...)
	diags = append(diags, ds...)
	s, ds = istio.Today(s)
	return s, append(diags, ds...)
}

func isInput(name string) bool {
	return strings.HasSuffix(name, ".yaml") && !strings.HasPrefix(name, "node") && !strings.HasPrefix(name, "view")
}

func nodes(t *testing.T, c *golden.Case) map[string]nodeFile {
	out := map[string]nodeFile{}
	for _, f := range c.Archive.Files {
		if !strings.HasPrefix(f.Name, "node") {
			continue
		}
		var n nodeFile
		d := yaml.NewDecoder(bytes.NewReader(f.Data))
		d.KnownFields(true)
		if err := d.Decode(&n); err != nil {
			t.Fatalf("read %s: %v", f.Name, err)
		}
		out["view"+strings.TrimPrefix(f.Name, "node")] = n
	}
	return out
}

func run(t *testing.T, c *golden.Case, set istio.Set) outcome {
	w, diags := compile.World(compile.Inputs{Set: set})
	return outcome{Views: views(t, c, w), Diagnostics: diags, Modules: w.Modules}
}

// views are those of the case's nodes.
func views(t *testing.T, c *golden.Case, w *mesh.World) map[string]*mesh.View {
	out := map[string]*mesh.View{}
	cache := view.NewCache(w)
	for name, n := range nodes(t, c) {
		out[name] = cache.Of(n.node())
	}
	return out
}

// TestCorpus: the YAML of a case gives the views and diagnostics written in it.
func TestCorpus(t *testing.T) {
	golden.Run(t, corpus, func(t *testing.T, c *golden.Case) map[string]string {
		set, diags := inputs(c)
		o := run(t, c, set)
		out := map[string]string{}
		for name, n := range nodes(t, c) {
			out[name] = golden.YAML(shown(o.Views[name], n.Show))
		}
		if len(o.Modules) > 0 {
			out["view-modules.yaml"] = golden.YAML(o.Modules)
		}
		diags = append(diags, o.Diagnostics...)
		diags.Sort()
		var b strings.Builder
		for _, d := range diags {
			b.WriteString(d.String() + "\n")
		}
		out["diagnostics.txt"] = b.String()
		return out
	})
}

// shown cuts a view down to what the case is about.
func shown(v *mesh.View, show []string) *mesh.View {
	out := *v
	out.Node = mesh.Node{}
	if !slices.Contains(show, "settings") {
		out.Settings = mesh.Settings{}
	}
	if len(show) == 0 {
		show = []string{"listeners", "tables", "clusters", "endpoints"}
	}
	if !slices.Contains(show, "patches") {
		out.Patches = nil
	}
	if !slices.Contains(show, "listeners") {
		out.Listeners = nil
	}
	out.Tables = keep(out.Tables, show, "table", func(t *mesh.RouteTable) string { return t.Name })
	out.Clusters = keep(out.Clusters, show, "cluster", func(c *mesh.Cluster) string { return c.Name })
	out.Endpoints = keep(out.Endpoints, show, "endpoint", func(g *mesh.EndpointGroup) string { return g.Cluster })
	for i, t := range out.Tables {
		cut := *t
		if slices.ContainsFunc(show, func(s string) bool { return strings.HasPrefix(s, "host:") }) {
			cut.CatchAll = nil
			cut.VirtualHosts = keep(t.VirtualHosts, show, "host", func(h *mesh.VirtualHost) string { return h.Name })
		}
		cut.VirtualHosts = slices.Clone(cut.VirtualHosts)
		for j, h := range cut.VirtualHosts {
			cut.VirtualHosts[j] = brief(h)
		}
		out.Tables[i] = &cut
	}
	return &out
}

// brief leaves out of the routes what stands beside them once more, resolved.
func brief(h *mesh.VirtualHost) *mesh.VirtualHost {
	out := *h
	out.Routes = nil
	for _, b := range h.Routes {
		cut, route := *b, *b.Route
		route.Destinations, route.Mirrors, route.Fault, route.Matches, route.Sticky = nil, nil, nil, nil, nil
		cut.Route = &route
		out.Routes = append(out.Routes, &cut)
	}
	return &out
}

func named(show []string, kind string) bool {
	return slices.ContainsFunc(show, func(s string) bool { return strings.HasPrefix(s, kind) })
}

func keep[T any](list []T, show []string, kind string, name func(T) string) []T {
	var out []T
	for _, item := range list {
		for _, s := range show {
			k, glob, ok := strings.Cut(s, ":")
			if strings.TrimSuffix(k, "s") != kind && !(kind == "table" && k == "host" && !named(show, "table")) {
				continue
			}
			if k == "host" && kind == "table" {
				ok = false
			}
			if hit, _ := path.Match(glob, name(item)); !ok || hit {
				out = append(out, item)
				break
			}
		}
	}
	return out
}
