package istio

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// goType checks n against the JSON form of a Go type, as message does against a schema.
func (c *checker) goType(t reflect.Type, n *node, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.kind == nullNode || reflect.PointerTo(t).Implements(unmarshaler) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.goStruct(t, n, path)
	case reflect.Map:
		if n.kind != mapNode {
			c.want(n, path, "a mapping", "")
			return
		}
		for _, f := range n.fields {
			c.goType(t.Elem(), f.value, join(path, f.key))
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			c.text(n, path)
			return
		}
		if n.kind != listNode {
			c.want(n, path, "a list", "put '- ' before it")
			return
		}
		for i, item := range n.items {
			c.goType(t.Elem(), item, index(path, i))
		}
	case reflect.String:
		c.text(n, path)
	case reflect.Bool:
		c.boolean(n, path)
	case reflect.Int, reflect.Int32, reflect.Int64:
		c.integer(n, path, t.Bits(), true)
	case reflect.Float64:
		if n.kind != numberNode {
			c.want(n, path, "a number", unquote(n))
		}
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		c.integer(n, path, t.Bits(), false)
	}
}

func (c *checker) goStruct(t reflect.Type, n *node, path string) {
	if n.kind != mapNode {
		c.want(n, path, "a mapping", "")
		return
	}
	known := map[string]reflect.Type{}
	var order []string
	jsonFields(t, known, &order)
	kept := n.fields[:0]
	for _, f := range n.fields {
		ft, ok := known[f.key]
		if !ok {
			fix := ""
			if near := nearest.Of(f.key, order); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			c.diags = append(c.diags, Diagnostic{
				Code: c.unknownCode(), Severity: c.unknown, Object: c.ref, Position: f.pos, Path: join(path, f.key),
				Message: fmt.Sprintf("unknown field %q in %s", f.key, place(path)), Fix: fix,
			})
			continue
		}
		c.goType(ft, f.value, join(path, f.key))
		kept = append(kept, f)
	}
	n.fields = kept
}

func jsonFields(t reflect.Type, into map[string]reflect.Type, order *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && (f.Anonymous || strings.Contains(opts, "inline")):
			jsonFields(f.Type, into, order)
		case name != "" && f.IsExported():
			into[name] = f.Type
			*order = append(*order, name)
		}
	}
}
