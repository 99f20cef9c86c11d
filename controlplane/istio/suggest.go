package istio

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// unknownField reports f, which message desc at path does not have, with what was probably meant: a field of another
// spelling here, or one that belongs a level higher or lower.
func (c *checker) unknownField(desc protoreflect.MessageDescriptor, f field, path string) {
	c.diags = append(c.diags, Diagnostic{
		Code: c.unknownCode(), Severity: c.unknown, Object: c.ref, Position: f.pos, Path: join(path, f.key),
		Message: fmt.Sprintf("unknown field %q in %s", f.key, place(path)),
		Fix:     c.meant(desc, f.key),
	})
}

func (c *checker) unknownCode() string {
	if c.unknown == Error {
		return CodeSchema
	}
	return CodeUnknownField
}

func place(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

func (c *checker) meant(desc protoreflect.MessageDescriptor, key string) string {
	here := names(desc)
	if n := same(key, here); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if n := nearest.Of(key, here); n != "" && nearest.Distance(key, n) == 1 {
		return fmt.Sprintf("did you mean %q?", n)
	}
	for i := len(c.ancestors) - 2; i >= 0; i-- {
		a := c.ancestors[i]
		if n := same(key, names(a.desc)); n != "" {
			return fmt.Sprintf("%q belongs under %s", n, place(a.path))
		}
	}
	if under := below(desc, key, "", 2); len(under) > 0 {
		return fmt.Sprintf("%q belongs under %s", key, strings.Join(under, " or "))
	}
	if now := former(desc.Name(), key); now != "" {
		return now
	}
	if n := nearest.Of(key, here); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	for i := len(c.ancestors) - 2; i >= 0; i-- {
		a := c.ancestors[i]
		if n := nearest.Of(key, names(a.desc)); n != "" {
			return fmt.Sprintf("did you mean %q, which belongs under %s?", n, place(a.path))
		}
	}
	if len(here) <= 12 {
		return "known are " + strings.Join(here, ", ")
	}
	return ""
}

// same finds the candidate that differs from key in case and separators only.
func same(key string, candidates []string) string {
	for _, c := range candidates {
		if nearest.Same(c, key) {
			return c
		}
	}
	return ""
}

func names(desc protoreflect.MessageDescriptor) []string {
	if strings.HasPrefix(string(desc.FullName()), "google.protobuf.") {
		return nil
	}
	out := make([]string, desc.Fields().Len())
	for i := range out {
		out[i] = desc.Fields().Get(i).JSONName()
	}
	return out
}

// below finds the fields up to depth levels down that are called key, nearest level first, and returns where they belong.
func below(desc protoreflect.MessageDescriptor, key, path string, depth int) []string {
	var found, deeper []string
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		child := messageOf(fd)
		if child == nil || fd.IsMap() {
			continue
		}
		p := join(path, fd.JSONName())
		if fd.IsList() {
			p += "[]"
		}
		if same(key, names(child)) != "" {
			found = append(found, p)
		} else if depth > 1 {
			deeper = append(deeper, below(child, key, p, depth-1)...)
		}
	}
	found = append(found, deeper...)
	return found[:min(len(found), 3)]
}

// wrap suggests the mapping that was meant by a bare value: {host: reviews} for a Destination that is only a name.
func wrap(desc protoreflect.MessageDescriptor, n *node) string {
	key := ""
	switch {
	case n.kind == stringNode && desc.Name() == "StringMatch":
		return fmt.Sprintf("write {exact: %q}", n.text)
	case n.kind == stringNode && desc.Name() == "Destination":
		key = "host"
	case n.kind == numberNode && desc.Name() == "Percent":
		key = "value"
	case n.kind == numberNode && desc.Name() == "PortSelector":
		key = "number"
	default:
		return ""
	}
	return fmt.Sprintf("write {%s: %s}", key, n.text)
}
