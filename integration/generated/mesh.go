// Package generated makes random meshes: services, workloads, and Istio's kinds with every field that the support table has. The
// kinds are walked by their descriptors, so that a field which becomes supported is generated without a line here; what
// plausible values a field has stands in tables by the field's name. For tests only.
package generated

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Document is one YAML document as a tree. A MeshConfig is one of its own here; YAML puts it into its ConfigMap.
type Document map[string]any

// Kind is the document's kind.
func (d Document) Kind() string { s, _ := d["kind"].(string); return s }

// ref is the document as diagnostics name it.
func (d Document) ref() istio.Ref {
	if d.Kind() == meshConfig {
		return istio.Ref{Kind: "ConfigMap", Namespace: rootNamespace, Name: "istio"}
	}
	namespace, _ := dig(d, "metadata", "namespace").(string)
	name, _ := dig(d, "metadata", "name").(string)
	return istio.Ref{Kind: d.Kind(), Namespace: namespace, Name: name}
}

// Mesh is one configuration.
type Mesh struct {
	Seed      uint64
	Documents []Document
	// Focus are the paths that were to be set, by kind: "VirtualService spec.http[].name".
	Focus []string
}

// Options of a Generator.
type Options struct {
	Keys Keys
	// Wild changes some values into ones that a user should not have written: most of these objects are refused.
	Wild bool
}

// Of the seeds that follow each other
const (
	block = 32 // have the same services, MeshConfig and what else the rest refers to,
	life  = 4  // have the same one of the other objects,
	first = 6  // which begin here,
	slots = 12 // and end here.
)

// Generator makes meshes. A mesh has most in common with that of the seed before, as with a mesh's configuration from one change
// to the next: what is new costs an Envoy time, and not what it has.
type Generator struct {
	opt   Options
	begun *generator // of the block at hand, with what the rest refers to
	block uint64
	base  Mesh
	slots map[int]made
}

// made is the object of a slot.
type made struct {
	epoch    uint64
	document Document
	focus    string
}

// New makes a Generator.
func New(o Options) *Generator { return &Generator{opt: o} }

// Mesh makes the mesh of a seed: equal seeds and options give equal meshes.
func (m *Generator) Mesh(seed uint64) Mesh {
	if m.begun == nil || m.block != seed/block {
		m.begin(seed / block)
	}
	out := Mesh{Seed: seed, Documents: slices.Clone(m.base.Documents), Focus: slices.Clone(m.base.Focus)}
	for i := first; i < slots; i++ {
		epoch := (seed%block + uint64(i)) / life
		if d, ok := m.slots[i]; !ok || d.epoch != epoch {
			g := *m.begun
			g.rand = source(m.block<<32 | uint64(i)<<16 | epoch)
			doc := g.object(i)
			m.slots[i] = made{epoch, doc, g.kind + " " + g.focus}
		}
		out.Documents = append(out.Documents, m.slots[i].document)
		out.Focus = append(out.Focus, m.slots[i].focus)
	}
	if m.opt.Wild {
		g := *m.begun
		g.rand = source(^seed)
		for range 1 + g.rand.IntN(4) {
			i := g.rand.IntN(len(out.Documents))
			out.Documents[i] = Document(Clone(map[string]any(out.Documents[i])).(map[string]any))
			g.spoil(out.Documents[i])
		}
	}
	return out
}

// begin makes what the meshes of a block have in common.
func (m *Generator) begin(number uint64) {
	g := newGenerator(number<<32, m.opt)
	m.begun, m.block, m.slots = g, number, map[int]made{}
	m.base = Mesh{Documents: g.base()}
	for i := range first {
		m.base.Documents = append(m.base.Documents, g.object(i))
		m.base.Focus = append(m.base.Focus, g.kind+" "+g.focus)
	}
}

// Clone copies a tree of maps and lists, as YAML is read.
func Clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = Clone(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = Clone(e)
		}
		return out
	}
	return v
}

// YAML is the whole configuration as one file.
func (m Mesh) YAML() string { return YAML(m.Documents) }

// YAML writes documents as one file.
func YAML(docs []Document) string {
	var b strings.Builder
	for _, d := range docs {
		b.WriteString("---\n")
		b.WriteString(text(d.whole()))
	}
	return b.String()
}

// JSON is the document in one line, which is YAML too.
func (d Document) JSON() string {
	raw, err := json.Marshal(d.whole())
	if err != nil {
		return fmt.Sprintf("# %v", err)
	}
	return string(raw)
}

// whole is the document as a user writes it.
func (d Document) whole() map[string]any {
	tree := map[string]any(d)
	if d.Kind() == meshConfig {
		tree = map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "istio", "namespace": rootNamespace},
			"data": map[string]any{"mesh": text(d["mesh"])},
		}
	}
	return tree
}

// text is a tree as YAML. Trees are of maps, lists and scalars, which all can be written.
func text(tree any) string {
	raw, err := yaml.Marshal(tree)
	if err != nil {
		return fmt.Sprintf("# %v\n", err)
	}
	return string(raw)
}

const meshConfig = "MeshConfig"

// generator makes the objects of one mesh, one after the other.
type generator struct {
	rand   *rand.Rand
	opt    Options
	tables *tables
	values map[string]func(*generator) any
	fixes  map[string]func(*generator, map[string]any)

	services []service
	entries  []service // of ServiceEntries so far that everybody sees
	gateways []string  // so far, as namespace/name
	delegate bool      // there is a VirtualService that others may delegate to

	// Of the object at hand.
	kind, namespace string
	focus           string   // a path that is to be set
	path            string   // of the field at hand
	hosts           []string // of a VirtualService
	edge            bool     // a VirtualService that a gateway has
	delegated       bool     // a VirtualService that others delegate to
	serial          int
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6d697a7a656e)) }

func newGenerator(seed uint64, o Options) *generator {
	return &generator{rand: source(seed), opt: o, tables: supported(), values: values(), fixes: fixes()}
}

// object makes one of Istio's objects, at best one that no diagnostic refuses.
func (g *generator) object(i int) Document {
	var d Document
	kind, focus := g.target(i)
	for try := range 8 {
		g.kind, g.focus = kind, focus
		if try > 5 {
			g.focus = "" // this path cannot be had here
		}
		g.namespace, g.hosts, g.edge = pick(g, rootNamespace, "default", "default", "default", "shop", "shop"), nil, false
		g.serial, g.delegated = i, i == 5 && focus == ""
		d = g.document()
		if _, ds := istio.Decode("generated.yaml", strings.NewReader(d.JSON())); len(ds.Errors()) == 0 {
			break
		}
	}
	g.remember(d)
	return d
}

// remember takes down what later objects may refer to.
func (g *generator) remember(d Document) {
	switch g.kind {
	case "Gateway":
		g.gateways = append(g.gateways, fmt.Sprint(dig(d, "metadata", "namespace"), "/", dig(d, "metadata", "name")))
	case "ServiceEntry":
		hosts, _ := dig(d, "spec", "hosts").([]any)
		ports, _ := dig(d, "spec", "ports").([]any)
		if dig(d, "spec", "exportTo") != nil || len(ports) == 0 {
			return
		}
		for _, h := range hosts {
			s := service{full: fmt.Sprint(h)}
			for _, p := range ports {
				if n, ok := dig(p.(map[string]any), "number").(int); ok {
					s.ports = append(s.ports, servicePort{number: n})
				}
			}
			if !strings.HasPrefix(s.full, "*") {
				g.entries = append(g.entries, s)
			}
		}
	case "VirtualService":
		g.delegate = g.delegate || g.delegated
	}
}

// target chooses the kind of the i-th object, and a path of it. The first are what the others refer to.
func (g *generator) target(i int) (kind, focus string) {
	switch i {
	case 0:
		kind = meshConfig
	case 1, 2:
		kind = "Gateway"
	case 3, 4:
		kind = "ServiceEntry"
	case 5:
		if kind = "VirtualService"; g.rand.IntN(3) == 0 {
			return kind, "" // to delegate to
		}
	default:
		// By the number of paths, but none is left to chance alone.
		f := g.tables.all[g.rand.IntN(len(g.tables.all))]
		if kind = f.Kind; g.rand.IntN(3) > 0 {
			kind = g.tables.kinds[g.rand.IntN(len(g.tables.kinds))]
		}
		for kind == meshConfig { // there is one
			kind = g.tables.kinds[g.rand.IntN(len(g.tables.kinds))]
		}
	}
	paths := g.tables.paths[kind]
	if len(paths) == 0 {
		return kind, ""
	}
	return kind, paths[g.rand.IntN(len(paths))]
}

// document makes an object of g.kind in g.namespace.
func (g *generator) document() Document {
	k := g.tables.known[g.kind]
	if g.kind == meshConfig {
		return Document{"kind": meshConfig, "mesh": g.message(k.desc, k.root)}
	}
	out := Document{
		"apiVersion": k.apiVersion, "kind": g.kind,
		"metadata": map[string]any{"name": fmt.Sprintf("%s-%d", strings.ToLower(g.kind), g.serial), "namespace": g.namespace},
	}
	switch {
	case g.kind == "RateLimit":
		out["spec"] = g.rateLimit()
		return out
	case g.kind == "VirtualService":
		g.bind()
	}
	spec := g.message(k.desc, k.root)
	out["spec"] = spec
	g.finish(out, spec)
	return out
}
