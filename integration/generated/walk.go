package generated

import (
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// tables are what can be generated.
type tables struct {
	known map[string]known
	kinds []string            // sorted as istio.Known
	paths map[string][]string // by kind, in schema order: the supported ones
	all   []istio.Field
	field map[string]map[string]istio.Field // kind, path
}

// known is one kind.
type known struct {
	apiVersion, root string
	desc             protoreflect.MessageDescriptor // nil: no protobuf type
}

var supported = sync.OnceValue(func() *tables {
	t := &tables{known: map[string]known{}, paths: map[string][]string{}, field: map[string]map[string]istio.Field{}}
	for _, f := range istio.Fields() {
		if leftOut(f.Kind) {
			continue
		}
		if t.field[f.Kind] == nil {
			t.field[f.Kind] = map[string]istio.Field{}
		}
		t.field[f.Kind][f.Path] = f
		if f.Status == istio.Supported {
			t.paths[f.Kind] = append(t.paths[f.Kind], f.Path)
			t.all = append(t.all, f)
		}
	}
	for _, k := range istio.Known() {
		desc, root := istio.Descriptor(k.Name)
		if leftOut(k.Name) {
			continue
		}
		if desc != nil || k.Name == "RateLimit" {
			t.known[k.Name] = known{k.APIVersion(), root, desc}
			t.kinds = append(t.kinds, k.Name)
		}
	}
	desc, root := istio.Descriptor(meshConfig)
	t.known[meshConfig] = known{"v1", root, desc}
	return t
})

// leftOut are kinds that are not generated: what Envoy says of a module or a script no compiler can tell. integration/extend is
// about them.
func leftOut(kind string) bool { return kind == "WasmPlugin" || kind == "TrafficExtension" }

// message fills a message of the object at hand: fields on the way to the focus always, others now and then.
func (g *generator) message(d protoreflect.MessageDescriptor, path string) map[string]any {
	out := map[string]any{}
	members := g.members(d, path)
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		p := path + "." + fd.JSONName()
		if !g.includes(d, fd, p, members) {
			continue
		}
		g.path = p
		if v := g.fieldValue(d, fd, p); v != nil {
			out[fd.JSONName()] = v
		}
	}
	g.path = path
	if fix := g.fixes[messageName(d)]; fix != nil {
		fix(g, out)
	}
	return out
}

// messageName is the name of a message below its package.
func messageName(d protoreflect.MessageDescriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}

// focused tells whether the focus is p or below.
func (g *generator) focused(p string) bool {
	rest, ok := strings.CutPrefix(g.focus, p)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// keeps tells whether the focus is the field of that name in the message at hand, or below it.
func (g *generator) keeps(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return g.focused(g.path + "." + n) })
}

// members chooses one field of each oneof.
func (g *generator) members(d protoreflect.MessageDescriptor, path string) map[protoreflect.FullName]protoreflect.FieldDescriptor {
	out := map[protoreflect.FullName]protoreflect.FieldDescriptor{}
	for i := range d.Oneofs().Len() {
		o := d.Oneofs().Get(i)
		if o.IsSynthetic() {
			continue
		}
		var list []protoreflect.FieldDescriptor
		for j := range o.Fields().Len() {
			fd := o.Fields().Get(j)
			p := path + "." + fd.JSONName()
			if g.focused(p) {
				list = []protoreflect.FieldDescriptor{fd}
				break
			}
			if g.tables.field[g.kind][p].Status == istio.Supported && g.tables.field[g.kind][p].Kind != "" {
				list = append(list, fd)
			}
		}
		if len(list) > 0 {
			out[o.FullName()] = list[g.rand.IntN(len(list))]
		}
	}
	return out
}

func (g *generator) includes(d protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor, p string, members map[protoreflect.FullName]protoreflect.FieldDescriptor) bool {
	f, ok := g.tables.field[g.kind][p]
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return members[o.FullName()] == fd
	}
	switch {
	case !ok || f.Status == istio.Rejected || f.Status == istio.Ignored:
		return false
	case g.focused(p) || required(messageName(d)+"."+fd.JSONName()):
		return true
	case f.Status == istio.Obsolete:
		return g.rand.IntN(100) == 0
	case g.kind == meshConfig: // there are few of them
		return g.rand.IntN(4) > 0
	case fd.Message() != nil && strings.Count(p, ".") > 3:
		return g.rand.IntN(6) == 0
	}
	return g.rand.IntN(3) == 0
}

// fieldValue is a value of a field as YAML has it; nil leaves the field out.
func (g *generator) fieldValue(d protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor, p string) any {
	name := messageName(d) + "." + fd.JSONName()
	if whole, ok := g.values[name+"="]; ok {
		return whole(g)
	}
	switch {
	case fd.IsMap():
		out := map[string]any{}
		for range 1 + g.rand.IntN(2) {
			key := "x-" + pick(g, "one", "two", "three")
			if keys, ok := g.values[name+"#"]; ok {
				key = keys(g).(string)
			}
			out[key] = g.element(name, fd.MapValue(), p, p+"[*]")
		}
		return out
	case fd.IsList():
		var out []any
		n := 1 + g.rand.IntN(2)
		if name == "MeshConfig.extensionProviders" {
			n = 6
		}
		for range n {
			v := g.element(name, fd, p, p+"[]")
			if v != nil && !slices.ContainsFunc(out, func(x any) bool { return text(x) == text(v) }) {
				out = append(out, v)
			}
		}
		if out == nil {
			return nil
		}
		return out
	}
	return g.element(name, fd, p, p)
}

// element is one value: of a field, of a list or of a map.
func (g *generator) element(name string, fd protoreflect.FieldDescriptor, p, below string) any {
	g.path = p
	if v, ok := g.values[name]; ok {
		return v(g)
	}
	if v, ok := g.values[name[strings.LastIndexByte(name, '.')+1:]]; ok {
		return v(g)
	}
	switch m := fd.Message(); {
	case m == nil:
		return g.scalar(fd, p)
	case strings.HasPrefix(string(m.FullName()), "google.protobuf."):
		return g.wellKnown(m)
	default:
		return g.message(m, below)
	}
}

func (g *generator) wellKnown(m protoreflect.MessageDescriptor) any {
	switch m.Name() {
	case "Duration":
		return pick(g, "1s", "0.25s", "10s", "1m", "30s", "2h", "1.5s")
	case "Struct":
		return map[string]any{}
	case "Timestamp":
		return "2024-01-02T03:04:05Z"
	}
	return g.scalar(m.Fields().ByName("value"), "")
}

func (g *generator) scalar(fd protoreflect.FieldDescriptor, p string) any {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return g.rand.IntN(2) == 0
	case protoreflect.StringKind:
		return pick(g, "a", "b-c", "some", "x1")
	case protoreflect.BytesKind:
		return "aGVsbG8="
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return pick(g, 0.0001, 1.0, 12.5, 50.0, 100.0)
	case protoreflect.EnumKind:
		var names []string
		for i := range fd.Enum().Values().Len() {
			n := string(fd.Enum().Values().Get(i).Name())
			if _, refused := g.tables.field[g.kind][p].Values[n]; !refused {
				names = append(names, n)
			}
		}
		return names[g.rand.IntN(len(names))]
	}
	return pick(g, 1, 2, 5, 10, 100, 1000)
}

// pick chooses one.
func pick[T any](g *generator, list ...T) T { return list[g.rand.IntN(len(list))] }

// dig is what stands below names in a tree of maps; nil if nothing does.
func dig(tree map[string]any, names ...string) any {
	var v any = tree
	for _, n := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[n]
	}
	return v
}
