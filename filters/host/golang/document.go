package golang

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// document returns the JSON of a plugin configuration: a TypedStruct (what contrib's documentation uses), a Struct, or
// a StringValue or BytesValue that holds JSON. No message at all is the empty configuration.
func document(in *anypb.Any) ([]byte, error) {
	url := in.GetTypeUrl()
	switch name := url[strings.LastIndexByte(url, '/')+1:]; name {
	case "":
		return nil, nil
	case "xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct":
		value, err := typedStructValue(in.GetValue())
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return structJSON(value)
	case "google.protobuf.Struct":
		return structJSON(in.GetValue())
	case "google.protobuf.StringValue":
		var s wrapperspb.StringValue
		if err := proto.Unmarshal(in.GetValue(), &s); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return []byte(s.GetValue()), nil
	case "google.protobuf.BytesValue":
		var b wrapperspb.BytesValue
		if err := proto.Unmarshal(in.GetValue(), &b); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return b.GetValue(), nil
	default:
		return nil, fmt.Errorf("plugin configuration of type %q: want a TypedStruct, Struct, StringValue or BytesValue", url)
	}
}

// typedStructValue returns field 2 (value, a Struct) of a serialized TypedStruct. Read by hand: two fields are not
// worth a dependency on the xds protos.
func typedStructValue(b []byte) ([]byte, error) {
	var value []byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		if num == 2 && typ == protowire.BytesType {
			part, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil, protowire.ParseError(n)
			}
			value = append(value, part...) // parts of one message merge by concatenation
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
	}
	return value, nil
}

func structJSON(b []byte) ([]byte, error) {
	var s structpb.Struct
	if err := proto.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read google.protobuf.Struct: %w", err)
	}
	out, err := s.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode google.protobuf.Struct: %w", err)
	}
	return out, nil
}
