package envoyapi

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Validate holds a complete message, and every message in an Any below it, against the rules of Envoy's API, which Envoy checks when
// it takes a configuration; "" if it keeps them all. A part that will be merged into something is not complete: do not ask.
func Validate(m proto.Message) string {
	if v, ok := m.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return strings.TrimSpace(err.Error())
		}
	}
	return validateBelow(m.ProtoReflect())
}

func validateBelow(m protoreflect.Message) (why string) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() && fd.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, x protoreflect.Value) bool {
				why = validateOne(x.Message())
				return why == ""
			})
		case fd.IsMap() || fd.Message() == nil:
		case fd.IsList():
			for i := 0; i < v.List().Len() && why == ""; i++ {
				why = validateOne(v.List().Get(i).Message())
			}
		default:
			why = validateOne(v.Message())
		}
		return why == ""
	})
	return why
}

// validateOne looks into an Any, whose content no generated rule sees; other messages were checked with their parents.
func validateOne(m protoreflect.Message) string {
	a, ok := m.Interface().(*anypb.Any)
	if !ok {
		return validateBelow(m)
	}
	inner, err := a.UnmarshalNew()
	if err != nil {
		return ""
	}
	return Validate(inner)
}
