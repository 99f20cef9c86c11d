package istio

import (
	"sort"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	extensions "istio.io/api/extensions/v1alpha1"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
)

// Status says what becomes of a field.
type Status uint8

// Statuses.
const (
	Supported   Status = iota // it takes effect
	Descriptive               // it names or describes for people; accepted, and nothing depends on it
	Obsolete                  // it is read as the field that replaced it, with a Warning; never set in a decoded object
	Ignored                   // it has no effect, with a Warning
	Rejected                  // it is an Error: without it the object would do something else than its author meant
)

// String returns the lower-case word.
func (s Status) String() string {
	return [...]string{"supported", "descriptive", "obsolete", "ignored", "rejected"}[s]
}

// Field is one line of the support table: one path of one kind.
type Field struct {
	Kind   string
	Path   string // spec.http[].match[].uri.exact; "[]" after a list; a map's values stand under "[*]"
	Type   string // string, uint32, bool, Duration, enum, the name of a message...
	Status Status
	Reason string // "" if Supported
	// Values are enum values with a status of their own, by value.
	Values map[string]string
}

// Fields returns the support table: every path of every kind, in schema order, kinds as in Known. What lies below an
// Ignored or Rejected path is not listed. Istio's wrappers and durations are leaves.
func Fields() []Field {
	var out []Field
	for _, k := range schemas() {
		w := &fieldWalker{kind: k.name, table: supportTable(), seen: map[protoreflect.FullName]int{}}
		w.message(k.desc, k.root)
		out = append(out, w.out...)
	}
	return out
}

// Descriptor describes what stands at the root ("spec", "data.mesh") of a kind of the support table; nil for other kinds.
func Descriptor(kind string) (message protoreflect.MessageDescriptor, root string) {
	for _, s := range schemas() {
		if s.name == kind {
			return s.desc, s.root
		}
	}
	return nil, ""
}

type schema struct {
	name, root string
	desc       protoreflect.MessageDescriptor
}

func schemas() []schema {
	of := func(name, root string, m proto.Message) schema {
		return schema{name, root, m.ProtoReflect().Descriptor()}
	}
	return []schema{
		of("VirtualService", "spec", &networking.VirtualService{}),
		of("DestinationRule", "spec", &networking.DestinationRule{}),
		of("Gateway", "spec", &networking.Gateway{}),
		of("ServiceEntry", "spec", &networking.ServiceEntry{}),
		of("WorkloadEntry", "spec", &networking.WorkloadEntry{}),
		of("WorkloadGroup", "spec", &networking.WorkloadGroup{}),
		of("Sidecar", "spec", &networking.Sidecar{}),
		of("AuthorizationPolicy", "spec", &security.AuthorizationPolicy{}),
		of("RequestAuthentication", "spec", &security.RequestAuthentication{}),
		of("PeerAuthentication", "spec", &security.PeerAuthentication{}),
		of("EnvoyFilter", "spec", &networking.EnvoyFilter{}),
		of("WasmPlugin", "spec", &extensions.WasmPlugin{}),
		of("TrafficExtension", "spec", &extensions.TrafficExtension{}),
		of("ProxyConfig", "spec", &networkingv1beta1.ProxyConfig{}),
		of("Telemetry", "spec", &telemetry.Telemetry{}),
		of("MeshConfig", "data.mesh", &meshconfig.MeshConfig{}),
	}
}

type fieldWalker struct {
	kind  string
	table map[string]entry
	seen  map[protoreflect.FullName]int // on the way down: a message within itself ends the walk
	out   []Field
}

func (w *fieldWalker) message(desc protoreflect.MessageDescriptor, path string) {
	if w.seen[desc.FullName()] > 0 {
		return
	}
	w.seen[desc.FullName()]++
	defer func() { w.seen[desc.FullName()]-- }()
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		e, ok := lookup(w.table, desc, fd)
		if !ok {
			e = entry{Rejected, "not in the support table", nil}
		}
		p := path + "." + fd.JSONName()
		w.out = append(w.out, Field{w.kind, p, typeName(fd), e.status, e.reason, e.values})
		if e.status != Supported {
			continue
		}
		switch child := messageOf(fd); {
		case child == nil:
		case fd.IsMap():
			w.message(child, p+"[*]")
		case fd.IsList():
			w.message(child, p+"[]")
		default:
			w.message(child, p)
		}
	}
}

// messageOf is the message that a field holds, alone, in a list or in a map; nil for scalars and for protobuf's own types.
func messageOf(fd protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	if m := fd.Message(); m != nil && !strings.HasPrefix(string(m.FullName()), "google.protobuf.") {
		return m
	}
	return nil
}

func typeName(fd protoreflect.FieldDescriptor) string {
	prefix := ""
	if fd.IsMap() {
		prefix, fd = "map of ", fd.MapValue()
	} else if fd.IsList() {
		prefix = "list of "
	}
	switch {
	case fd.Message() != nil:
		return prefix + strings.TrimSuffix(string(fd.Message().Name()), "Value")
	case fd.Enum() != nil:
		return prefix + "enum"
	}
	return prefix + fd.Kind().String()
}

// entry is the table's word on one field.
type entry struct {
	status Status
	reason string
	values map[string]string // enum values that are Rejected, and why
}

// messageName is the key of a message in the table: the name without its package.
func messageName(desc protoreflect.MessageDescriptor) string {
	name := strings.TrimPrefix(string(desc.FullName()), string(desc.ParentFile().Package())+".")
	if desc.ParentFile().Package() == "istio.telemetry.v1alpha1" {
		return "telemetry." + name // Tracing is MeshConfig's too
	}
	if name == "ProxyConfig" && desc.ParentFile().Package() == "istio.networking.v1beta1" {
		return "networking.ProxyConfig" // MeshConfig has another
	}
	if name == "WorkloadSelector" && desc.ParentFile().Package() == "istio.type.v1beta1" {
		return "type.WorkloadSelector" // two of one name
	}
	return name
}

func lookup(table map[string]entry, desc protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) (entry, bool) {
	name := messageName(desc)
	e, ok := table[name+"."+fd.JSONName()]
	if !ok {
		e, ok = table[name+".*"]
	}
	return e, ok
}

var supportTable = sync.OnceValue(func() map[string]entry {
	out := map[string]entry{}
	for _, r := range supportRules() {
		for _, f := range strings.Fields(r.fields) {
			e := out[r.message+"."+f]
			if r.values != "" {
				if e.values == nil {
					e.values = map[string]string{}
				}
				for _, v := range strings.Fields(r.values) {
					e.values[v] = r.reason
				}
			} else {
				e.status, e.reason = r.status, r.reason
			}
			out[r.message+"."+f] = e
		}
	}
	return out
})

// support holds a decoded tree against the table: an Error for each Rejected field that is set, a Warning for each Ignored one.
func (o *object) support(kind string, desc protoreflect.MessageDescriptor, n *node, path string) {
	if n.kind != mapNode {
		return
	}
	for _, f := range n.fields {
		fd := desc.Fields().ByJSONName(f.key)
		if fd == nil || f.value.kind == nullNode || f.value.kind == listNode && len(f.value.items) == 0 {
			continue
		}
		e, _ := lookup(supportTable(), desc, fd)
		p := join(path, f.key)
		switch {
		case e.status == Rejected:
			o.add(CodeUnsupported, Error, f.pos, p, e.reason, "")
		case e.status == Ignored && kind == "MeshConfig":
			o.add(CodeIgnored, Info, f.pos, p, "has no effect: "+e.reason, "")
		case e.status == Ignored:
			o.add(CodeIgnored, Warning, f.pos, p, "has no effect: "+e.reason, "")
		case e.values[strings.ToUpper(f.value.str())] != "": // Gateway's port.protocol is a string, read in any case
			o.add(CodeUnsupported, Error, f.value.pos, p, f.value.str()+": "+e.values[strings.ToUpper(f.value.str())], "")
		case messageOf(fd) != nil:
			o.supportBelow(kind, fd, f.value, p)
		}
	}
}

func (o *object) supportBelow(kind string, fd protoreflect.FieldDescriptor, n *node, path string) {
	child := messageOf(fd)
	switch {
	case fd.IsMap():
		for _, f := range n.fields {
			o.support(kind, child, f.value, join(path, f.key))
		}
	case fd.IsList():
		for i, item := range n.items {
			o.support(kind, child, item, index(path, i))
		}
	default:
		o.support(kind, child, n, path)
	}
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
