package crd

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	metaistio "istio.io/api/meta/v1alpha1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

type props = apiextensionsv1.JSONSchemaProps

// writer turns messages into structural schemas.
type writer struct {
	fields map[string]istio.Field         // of the kind, by path
	former map[string][]istio.FormerField // by message
	within map[protoreflect.FullName]bool // the messages around the one at hand
}

func newWriter(kind string) *writer {
	w := &writer{fields: map[string]istio.Field{}, former: map[string][]istio.FormerField{}, within: map[protoreflect.FullName]bool{}}
	for _, f := range istio.Fields() {
		if f.Kind == kind {
			w.fields[f.Path] = f
		}
	}
	for _, f := range istio.FormerFields() {
		w.former[f.Message] = append(w.former[f.Message], f)
	}
	return w
}

// open is a schema that takes anything; typed "object" it takes any object.
func open(kind string) props {
	yes := true
	return props{Type: kind, XPreserveUnknownFields: &yes}
}

// message is the schema of a message in its JSON form.
func (w *writer) message(desc protoreflect.MessageDescriptor, path string) (props, error) {
	if s, ok := wellKnown(desc.FullName()); ok {
		return s, nil
	}
	if strings.HasPrefix(string(desc.FullName()), "google.protobuf.") {
		return props{}, fmt.Errorf("%s: no schema for %s", path, desc.FullName())
	}
	if w.within[desc.FullName()] {
		return props{}, fmt.Errorf("%s: %s stands within itself, which a structural schema cannot say", path, desc.FullName())
	}
	w.within[desc.FullName()] = true
	defer delete(w.within, desc.FullName())
	out := props{Type: "object", Properties: map[string]props{}}
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		s, err := w.field(fd, path+"."+fd.JSONName())
		if err != nil {
			return props{}, err
		}
		out.Properties[fd.JSONName()] = s
	}
	name := strings.TrimPrefix(string(desc.FullName()), string(desc.ParentFile().Package())+".")
	for _, f := range w.former[name] {
		s := open("")
		s.Description = "Obsolete and needless."
		if f.Now != "" {
			s.Description = "Obsolete: read as " + f.Now + "."
		}
		out.Properties[f.Name] = s
	}
	return out, nil
}

func (w *writer) field(fd protoreflect.FieldDescriptor, path string) (props, error) {
	var out props
	switch {
	case fd.IsMap():
		value, err := w.value(fd.MapValue(), path+"[*]")
		if err != nil {
			return props{}, err
		}
		out = props{Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &value}}
	case fd.IsList():
		item, err := w.value(fd, path+"[]")
		if err != nil {
			return props{}, err
		}
		out = props{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &item}}
	default:
		value, err := w.value(fd, path)
		if err != nil {
			return props{}, err
		}
		out = value
	}
	out.Description = w.describe(fd, path)
	return out, nil
}

// value is the schema of one value of a field, whatever its cardinality.
func (w *writer) value(fd protoreflect.FieldDescriptor, path string) (props, error) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.message(fd.Message(), path)
	case protoreflect.BoolKind:
		return props{Type: "boolean"}, nil
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return props{Type: "number"}, nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return props{Type: "integer"}, nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return long(), nil
	}
	return props{Type: "string"}, nil
}

// long is a 64-bit number, which protobuf's JSON writes as a string and reads as either.
func long() props {
	return props{XIntOrString: true, AnyOf: []props{{Type: "integer"}, {Type: "string"}}}
}

// wellKnown are protobuf's own messages that have a JSON form of their own.
func wellKnown(name protoreflect.FullName) (props, bool) {
	switch name {
	case "google.protobuf.Duration", "google.protobuf.Timestamp", "google.protobuf.StringValue", "google.protobuf.BytesValue":
		return props{Type: "string"}, true
	case "google.protobuf.BoolValue":
		return props{Type: "boolean"}, true
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue":
		return props{Type: "number"}, true
	case "google.protobuf.Int32Value", "google.protobuf.UInt32Value":
		return props{Type: "integer"}, true
	case "google.protobuf.Int64Value", "google.protobuf.UInt64Value":
		return long(), true
	case "google.protobuf.Struct", "google.protobuf.Any":
		return open("object"), true
	case "google.protobuf.Value":
		return open(""), true
	case "google.protobuf.ListValue":
		item := open("")
		return props{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &item}}, true
	}
	return props{}, false
}

// describe says what the support table says of a field, if that is more than that it works, and which values an enum has.
func (w *writer) describe(fd protoreflect.FieldDescriptor, path string) string {
	var said []string
	f := w.fields[path]
	switch f.Status {
	case istio.Obsolete:
		said = append(said, "Obsolete: "+f.Reason+".")
	case istio.Ignored:
		said = append(said, "No effect: "+f.Reason+".")
	case istio.Rejected:
		said = append(said, "Refused: "+f.Reason+".")
	}
	if e := fd.Enum(); e != nil {
		var values []string
		for i := range e.Values().Len() {
			name := string(e.Values().Get(i).Name())
			if _, refused := f.Values[name]; !refused {
				values = append(values, name)
			}
		}
		said = append(said, "One of "+strings.Join(values, ", ")+".")
	}
	return strings.Join(said, " ")
}

// status is Istio's: conditions and validation messages. Kinds have more of their own there (a ServiceEntry, addresses).
func status() props {
	s, err := newWriter("").message((&metaistio.IstioStatus{}).ProtoReflect().Descriptor(), "status")
	if err != nil {
		s = props{Type: "object"}
	}
	if list := s.Properties["conditions"]; list.Items != nil { // each has its writer
		kind := "map"
		list.XListType, list.XListMapKeys = &kind, []string{"type"}
		list.Items.Schema.Required = list.XListMapKeys
		s.Properties["conditions"] = list
	}
	yes := true
	s.XPreserveUnknownFields = &yes
	s.Description = "What the control plane says of it."
	return s
}

// rateLimitSpec takes RateLimit's from the definition that stands with its type, which editors' schemas are made from, too.
func rateLimitSpec() (props, []apiextensionsv1.CustomResourceColumnDefinition, error) {
	var d Definition
	if err := yaml.Unmarshal([]byte(istio.RateLimitCRD()), &d); err != nil {
		return props{}, nil, fmt.Errorf("read schema/ratelimit.crd.yaml: %w", err)
	}
	v := d.Spec.Versions[0]
	return shape(v.Schema.OpenAPIV3Schema.Properties["spec"]), v.AdditionalPrinterColumns, nil
}

// shape keeps of a schema which fields there are, of which type, and what is said of them.
func shape(s props) props {
	out := props{Description: s.Description, Type: s.Type}
	if len(s.Enum) > 0 && out.Description == "" {
		out.Description = "One of " + enum(s.Enum) + "."
	}
	if len(s.Properties) > 0 {
		out.Properties = map[string]props{}
		for name, p := range s.Properties {
			out.Properties[name] = shape(p)
		}
	}
	if s.Items != nil {
		item := shape(*s.Items.Schema)
		out.Items = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &item}
	}
	if s.AdditionalProperties != nil {
		value := shape(*s.AdditionalProperties.Schema)
		out.AdditionalProperties = &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &value}
	}
	return out
}

func enum(values []apiextensionsv1.JSON) string {
	words := make([]string, len(values))
	for i, v := range values {
		if json.Unmarshal(v.Raw, &words[i]) != nil {
			words[i] = string(v.Raw)
		}
	}
	return strings.Join(words, ", ")
}
