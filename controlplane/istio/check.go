package istio

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// checker holds one object against a protobuf schema, or a Go type's JSON form. On the way it gives every key its canonical
// spelling and every duration protojson's form, in the tree it was given.
type checker struct {
	ref     Ref
	diags   Diagnostics
	unknown Severity // of an unknown field
	// ancestors are the messages around the one at hand, outermost first, for "belongs under ...".
	ancestors []ancestor
}

type ancestor struct {
	path string
	desc protoreflect.MessageDescriptor
}

func (c *checker) fail(pos Position, path, message, fix string) {
	c.diags = append(c.diags, Diagnostic{Code: CodeSchema, Severity: Error, Object: c.ref, Position: pos, Path: path, Message: message, Fix: fix})
}

// want reports a value of the wrong type.
func (c *checker) want(n *node, path, what, fix string) {
	got := n.kind.String()
	if n.kind == stringNode && len(n.text) <= 40 {
		got = fmt.Sprintf("the string %q", n.text)
	} else if n.kind == numberNode || n.kind == boolNode {
		got += " (" + n.text + ")"
	}
	c.fail(n.pos, path, "want "+what+", got "+got, fix)
}

// message checks n against desc. A null is an absent field, as in protojson.
func (c *checker) message(desc protoreflect.MessageDescriptor, n *node, path string) {
	if n.kind == nullNode || c.wellKnown(desc, n, path) {
		return
	}
	if n.kind != mapNode {
		fix := wrap(desc, n)
		if n.kind == listNode {
			fix = "take away the '-'"
		}
		c.want(n, path, "a mapping", fix)
		return
	}
	c.ancestors = append(c.ancestors, ancestor{path, desc})
	defer func() { c.ancestors = c.ancestors[:len(c.ancestors)-1] }()
	chosen := map[protoreflect.Name]field{}
	kept := n.fields[:0]
	spelling := map[string]string{}
	for _, f := range n.fields {
		fd := fieldOf(desc, f.key)
		if fd == nil {
			c.unknownField(desc, f, path)
			continue
		}
		if other, twice := spelling[fd.JSONName()]; twice {
			c.fail(f.pos, join(path, f.key), fmt.Sprintf("%q and %q are one field", other, f.key), "keep one")
			continue
		}
		spelling[fd.JSONName()] = f.key
		f.key = fd.JSONName()
		if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() && f.value.kind != nullNode {
			if other, twice := chosen[o.Name()]; twice {
				c.fail(f.pos, join(path, f.key), fmt.Sprintf("%s and %s exclude each other", other.key, f.key), "keep one")
				continue
			}
			chosen[o.Name()] = f
		}
		c.field(fd, f.value, join(path, f.key))
		kept = append(kept, f)
	}
	n.fields = kept
}

func fieldOf(desc protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if fd := desc.Fields().ByJSONName(key); fd != nil {
		return fd
	}
	return desc.Fields().ByName(protoreflect.Name(key))
}

func (c *checker) field(fd protoreflect.FieldDescriptor, n *node, path string) {
	if n.kind == nullNode {
		return
	}
	switch {
	case fd.IsMap():
		if n.kind != mapNode {
			c.want(n, path, "a mapping", "")
			return
		}
		for _, f := range n.fields {
			c.value(fd.MapValue(), f.value, join(path, f.key))
		}
	case fd.IsList():
		if n.kind != listNode {
			c.want(n, path, "a list", "put '- ' before it")
			return
		}
		for i, item := range n.items {
			if item.kind == nullNode {
				c.fail(item.pos, index(path, i), "an empty list item", "")
				continue
			}
			c.value(fd, item, index(path, i))
		}
	default:
		c.value(fd, n, path)
	}
}

// value checks one value of fd, whatever its cardinality.
func (c *checker) value(fd protoreflect.FieldDescriptor, n *node, path string) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		c.message(fd.Message(), n, path)
	case protoreflect.EnumKind:
		c.enum(fd.Enum(), n, path)
	default:
		c.scalar(fd.Kind(), n, path)
	}
}

func (c *checker) enum(desc protoreflect.EnumDescriptor, n *node, path string) {
	values := make([]string, desc.Values().Len())
	for i := range values {
		values[i] = string(desc.Values().Get(i).Name())
	}
	list := "one of " + strings.Join(values, ", ")
	if n.kind != stringNode {
		c.want(n, path, list, "")
		return
	}
	if desc.Values().ByName(protoreflect.Name(n.text)) != nil {
		return
	}
	fix := ""
	if near := nearest.Of(n.text, values); near != "" {
		fix = "did you mean " + near + "?"
	}
	c.want(n, path, list, fix)
}

func (c *checker) scalar(kind protoreflect.Kind, n *node, path string) {
	switch kind {
	case protoreflect.StringKind, protoreflect.BytesKind:
		c.text(n, path)
	case protoreflect.BoolKind:
		c.boolean(n, path)
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if n.kind != numberNode {
			c.want(n, path, "a number", unquote(n))
		}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		c.integer(n, path, 32, true)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		c.integer(n, path, 64, true)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		c.integer(n, path, 32, false)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		c.integer(n, path, 64, false)
	}
}

func (c *checker) text(n *node, path string) {
	if n.kind == stringNode {
		return
	}
	fix := ""
	if n.kind == numberNode || n.kind == boolNode {
		fix = fmt.Sprintf("put it in quotes: %q", n.text)
	}
	c.want(n, path, "a string", fix)
}

// boolean accepts YAML 1.1's plain yes, no, on and off too, as Kubernetes does.
func (c *checker) boolean(n *node, path string) {
	if n.kind == boolNode {
		return
	}
	if n.kind == stringNode && n.plain {
		switch strings.ToLower(n.text) {
		case "yes", "on":
			n.kind, n.text = boolNode, "true"
			return
		case "no", "off":
			n.kind, n.text = boolNode, "false"
			return
		}
	}
	c.want(n, path, "true or false", unquote(n))
}

func (c *checker) integer(n *node, path string, bits int, signed bool) {
	if n.kind != numberNode {
		c.want(n, path, "a number", unquote(n))
		return
	}
	var err error
	if signed {
		_, err = strconv.ParseInt(n.text, 10, bits)
	} else {
		_, err = strconv.ParseUint(n.text, 10, bits)
	}
	switch {
	case err == nil:
	case strings.ContainsAny(n.text, ".eE"):
		c.want(n, path, "a whole number", "")
	case !signed && strings.HasPrefix(n.text, "-"):
		c.want(n, path, "a number from 0 up", "")
	default:
		c.want(n, path, fmt.Sprintf("a number of at most %d bits", bits), "")
	}
}

// unquote suggests the plain form of a quoted number or boolean.
func unquote(n *node) string {
	if n.kind == stringNode && !n.plain {
		if _, err := strconv.ParseFloat(n.text, 64); err == nil || n.text == "true" || n.text == "false" {
			return "write " + n.text + " without quotes"
		}
	}
	return ""
}

// wellKnown checks the messages that are scalars or free form in JSON; false for an ordinary message.
func (c *checker) wellKnown(desc protoreflect.MessageDescriptor, n *node, path string) bool {
	switch desc.FullName() {
	case "google.protobuf.Duration":
		c.duration(n, path)
	case "google.protobuf.BoolValue":
		c.boolean(n, path)
	case "google.protobuf.StringValue", "google.protobuf.BytesValue", "google.protobuf.Timestamp":
		c.text(n, path)
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue":
		c.scalar(protoreflect.DoubleKind, n, path)
	case "google.protobuf.Int32Value":
		c.integer(n, path, 32, true)
	case "google.protobuf.Int64Value":
		c.integer(n, path, 64, true)
	case "google.protobuf.UInt32Value":
		c.integer(n, path, 32, false)
	case "google.protobuf.UInt64Value":
		c.integer(n, path, 64, false)
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any":
		// Free form.
	default:
		return false
	}
	return true
}

// duration accepts what Istio accepts, Go's "1h30m" and "250ms", and rewrites it to protojson's seconds.
func (c *checker) duration(n *node, path string) {
	if n.kind == numberNode {
		c.want(n, path, "a duration such as 5s, 250ms or 1h", "write "+n.text+"s")
		return
	}
	if n.kind != stringNode {
		c.want(n, path, "a duration such as 5s, 250ms or 1h", "")
		return
	}
	d, err := time.ParseDuration(n.text)
	if err != nil {
		fix := ""
		if _, err := strconv.ParseFloat(n.text, 64); err == nil {
			fix = "write " + n.text + "s"
		}
		c.want(n, path, "a duration such as 5s, 250ms or 1h", fix)
		return
	}
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	n.text = fmt.Sprintf("%s%d.%09ds", sign, d/time.Second, d%time.Second)
}

// join appends a key to a path; a key that is not a plain word stands in brackets, as in metadata.labels["a.b/c"].
func join(path, key string) string {
	for _, r := range key {
		if r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Sprintf("%s[%q]", path, key)
		}
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// places records where every key and list item of n stands.
func places(n *node, path string, into map[string]Position) {
	for _, f := range n.fields {
		p := join(path, f.key)
		into[p] = f.pos
		places(f.value, p, into)
	}
	for i, item := range n.items {
		p := index(path, i)
		into[p] = item.pos
		places(item, p, into)
	}
}
