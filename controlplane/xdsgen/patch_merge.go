package xdsgen

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// mergeInto merges src into dst as protobuf does, and in two ways more usefully: an Any that holds the same type on both sides is
// merged inside, and a duration, a wrapper or the like is replaced, so that false and 0 can be written. Lists are joined, or with
// MERGE_AND_REPLACE_LIST replaced.
func mergeInto(dst, src proto.Message, operation string) {
	merger{operation == "MERGE_AND_REPLACE_LIST"}.message(dst.ProtoReflect(), src.ProtoReflect())
}

type merger struct{ replaceLists bool }

func (m merger) message(dst, src protoreflect.Message) {
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList():
			m.list(dst, fd, v.List())
		case fd.IsMap():
			m.mapping(dst.Mutable(fd).Map(), fd, v.Map())
		case fd.Message() == nil:
			dst.Set(fd, v)
		case !dst.Has(fd) || replaces(fd.Message()):
			dst.Set(fd, cloned(v))
		default:
			m.either(dst.Mutable(fd).Message(), v.Message())
		}
		return true
	})
}

// either merges messages of one field.
func (m merger) either(dst, src protoreflect.Message) {
	to, ok := dst.Interface().(*anypb.Any)
	from, also := src.Interface().(*anypb.Any)
	if !ok || !also {
		m.message(dst, src)
		return
	}
	a, err := to.UnmarshalNew()
	b, err2 := from.UnmarshalNew()
	if err != nil || err2 != nil || a.ProtoReflect().Descriptor() != b.ProtoReflect().Descriptor() || replaces(a.ProtoReflect().Descriptor()) {
		to.TypeUrl, to.Value = from.TypeUrl, from.Value
		return
	}
	m.message(a.ProtoReflect(), b.ProtoReflect())
	if packed, err := toAny(a); err == nil {
		to.TypeUrl, to.Value = packed.TypeUrl, packed.Value
	}
}

func (m merger) list(dst protoreflect.Message, fd protoreflect.FieldDescriptor, src protoreflect.List) {
	if m.replaceLists {
		dst.Clear(fd)
	}
	to := dst.Mutable(fd).List()
	for i := range src.Len() {
		v := src.Get(i)
		if fd.Message() != nil {
			v = cloned(v)
		}
		to.Append(v)
	}
}

func (m merger) mapping(dst protoreflect.Map, fd protoreflect.FieldDescriptor, src protoreflect.Map) {
	src.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		switch message := fd.MapValue().Message(); {
		case message == nil:
			dst.Set(k, v)
		case !dst.Has(k) || replaces(message):
			dst.Set(k, cloned(v))
		default:
			m.either(dst.Mutable(k).Message(), v.Message())
		}
		return true
	})
}

// replaces tells whether a message is one value: protobuf's own but for Any and Struct.
func replaces(desc protoreflect.MessageDescriptor) bool {
	name := desc.FullName()
	return strings.HasPrefix(string(name), "google.protobuf.") && name != "google.protobuf.Any" && name != "google.protobuf.Struct"
}

func cloned(v protoreflect.Value) protoreflect.Value {
	return protoreflect.ValueOfMessage(proto.Clone(v.Message().Interface()).ProtoReflect())
}

// ordered is an element of a list in which order counts.
type ordered interface {
	proto.Message
	GetName() string
}

// edited is list with one patch applied; changed is false if it fits nothing. target names the elements that it is about, "" all;
// last is where the value goes without one: with ADD, and with INSERT_AFTER that names nothing.
func edited[M ordered](list []M, patch *mesh.Patch, target func(M) bool, names bool, value M, last int) (out []M, changed bool) {
	at := slices.IndexFunc(list, target)
	insert := func(i int) ([]M, bool) {
		return slices.Insert(slices.Clone(list), i, proto.CloneOf(value)), true
	}
	switch patch.Operation {
	case "ADD":
		return insert(last)
	case "INSERT_FIRST":
		return insert(0)
	case "INSERT_BEFORE":
		if !names {
			return insert(0)
		}
		if at >= 0 {
			return insert(at)
		}
		return list, false
	case "INSERT_AFTER":
		if !names {
			return insert(last)
		}
		if at >= 0 {
			return insert(at + 1)
		}
		return list, false
	}
	if at < 0 {
		return list, false
	}
	for _, e := range list {
		switch {
		case !target(e):
		case patch.Operation == "REMOVE":
			continue
		case patch.Operation == "REPLACE":
			e = proto.CloneOf(value)
		default:
			mergeInto(e, value, patch.Operation)
		}
		out = append(out, e)
	}
	return out, true
}

func portText(p uint32) string { return strconv.FormatUint(uint64(p), 10) }
