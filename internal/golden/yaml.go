package golden

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// YAML renders a tree of plain structs for people: fields by their lower-case names in the order declared, zero values
// left out, maps sorted, values that know their own text (Stringer, TextMarshaler, JSON strings and numbers) as that.
func YAML(v any) string {
	n := node(reflect.ValueOf(v))
	if n == nil {
		return ""
	}
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return "# " + err.Error() + "\n"
	}
	return b.String()
}

// node returns nil for zero values.
func node(v reflect.Value) *yaml.Node {
	if !v.IsValid() || v.IsZero() && !enum(v) {
		return nil
	}
	if n := ownText(v); n != nil {
		return n
	}
	switch v.Kind() {
	case reflect.Pointer:
		return pointee(v.Elem())
	case reflect.Interface:
		return node(v.Elem())
	case reflect.Struct:
		return object(v)
	case reflect.Slice, reflect.Array:
		return list(v)
	case reflect.Map:
		return mapping(v)
	}
	return scalar(v)
}

// enum tells whether v is a small number with a name for each value: its zero has one too.
func enum(v reflect.Value) bool {
	_, named := v.Interface().(fmt.Stringer)
	return named && v.Kind() == reflect.Uint8
}

// pointee keeps a zero value that a pointer makes explicit.
func pointee(v reflect.Value) *yaml.Node {
	if n := node(v); n != nil {
		return n
	}
	switch v.Kind() {
	case reflect.Struct:
		return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	case reflect.Slice, reflect.Map:
		return nil
	}
	if n := ownText(v); n != nil {
		return n
	}
	return scalar(v)
}

func ownText(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case time.Duration:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: x.String()}
	case encoding.TextMarshaler:
		if b, err := x.MarshalText(); err == nil {
			return &yaml.Node{Kind: yaml.ScalarNode, Value: string(b)}
		}
	case json.Marshaler:
		if b, err := x.MarshalJSON(); err == nil {
			var out any
			if json.Unmarshal(b, &out) == nil {
				return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(out)}
			}
		}
	case fmt.Stringer:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: x.String()}
	}
	return nil
}

func object(v reflect.Value) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		n := node(v.Field(i))
		switch {
		case n == nil:
		case f.Anonymous && n.Kind == yaml.MappingNode:
			out.Content = append(out.Content, n.Content...)
		default:
			out.Content = append(out.Content, text(fieldName(f.Name)), n)
		}
	}
	if len(out.Content) == 0 {
		return nil
	}
	return out
}

// fieldName lowers the leading capitals: HTTPSRedirect is httpsRedirect, TLS tls, PPM ppm.
func fieldName(s string) string {
	r := []rune(s)
	for i := range r {
		if i > 0 && i+1 < len(r) && unicode.IsLower(r[i+1]) && unicode.IsUpper(r[i]) || !unicode.IsUpper(r[i]) {
			break
		}
		r[i] = unicode.ToLower(r[i])
	}
	return string(r)
}

func list(v reflect.Value) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	flow := true
	for i := range v.Len() {
		n := pointee(v.Index(i))
		if n == nil {
			n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
		}
		flow = flow && n.Kind == yaml.ScalarNode && len(n.Value) < 60
		out.Content = append(out.Content, n)
	}
	if flow && len(out.Content) < 8 {
		out.Style = yaml.FlowStyle
	}
	return out
}

func mapping(v reflect.Value) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
	for _, k := range keys {
		n := pointee(v.MapIndex(k))
		if n == nil {
			n = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		}
		out.Content = append(out.Content, text(fmt.Sprint(k)), n)
	}
	return out
}

func scalar(v reflect.Value) *yaml.Node {
	n := &yaml.Node{}
	if err := n.Encode(v.Interface()); err != nil {
		return text(fmt.Sprint(v))
	}
	return n
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}
