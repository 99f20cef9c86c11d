package envoyapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/mizzen-mesh/mizzen/internal/protoerr"
)

// Problem is one mistake in a value.
type Problem struct {
	// Path leads from the value to the mistake: keys (string) and places in lists (int).
	Path    []any
	Message string
	Fix     string // "" if the message says it
}

// typeKey is the key by which JSON names the type of an Any.
const typeKey = "@type"

// Decode reads value, a JSON object as encoding/json has it, into m, which is empty. Field names may be Envoy's own (snake_case) or
// JSON's. Every unknown field or type is a Problem, and with any Problem m is not to be used.
func Decode(m proto.Message, value map[string]any) []Problem {
	value, _ = modern(value).(map[string]any)
	var w walker
	w.message(m.ProtoReflect().Descriptor(), value, nil)
	if len(w.problems) > 0 {
		return w.problems
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return []Problem{{Message: "cannot be written as JSON: " + err.Error()}}
	}
	if err := protojson.Unmarshal(raw, m); err != nil {
		path, cause := locate(m.ProtoReflect().Descriptor(), value, err)
		return []Problem{{Path: path, Message: protoerr.Plain(cause)}}
	}
	return nil
}

// modern is v with the older name of TypedStruct, which Envoy takes for the same and which is not linked in, as the newer.
func modern(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, y := range x {
			if s, ok := y.(string); ok && k == typeKey && strings.HasSuffix(s, "/udpa.type.v1.TypedStruct") {
				y = "type.googleapis.com/xds.type.v3.TypedStruct"
			}
			out[k] = modern(y)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, y := range x {
			out[i] = modern(y)
		}
		return out
	}
	return v
}

// walker finds the fields and types that do not exist.
type walker struct{ problems []Problem }

func (w *walker) fail(path []any, fix, format string, args ...any) {
	w.problems = append(w.problems, Problem{slices.Clone(path), fmt.Sprintf(format, args...), fix})
}

func (w *walker) message(desc protoreflect.MessageDescriptor, v any, path []any) {
	if v == nil {
		return
	}
	m, ok := v.(map[string]any)
	switch name := desc.FullName(); {
	case name == "google.protobuf.Any":
		if ok {
			w.any(m, path)
		}
		return
	case strings.HasPrefix(string(name), "google.protobuf."), !ok:
		return // protojson says what it wants
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := append(path, key)
		fd := field(desc, key)
		if fd == nil {
			w.fail(at, suggest(key, fieldNames(desc)), "unknown field %q in %s", key, desc.FullName())
			continue
		}
		w.field(fd, m[key], at)
	}
	if desc.Name() == "TypedStruct" {
		w.typedStruct(m, path)
	}
}

func (w *walker) field(fd protoreflect.FieldDescriptor, v any, path []any) {
	value := fd
	if fd.IsMap() {
		value = fd.MapValue()
	}
	if value.Message() == nil {
		return
	}
	switch x := v.(type) {
	case map[string]any:
		if !fd.IsMap() {
			w.message(value.Message(), x, path)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			w.message(value.Message(), x[k], append(path, k))
		}
	case []any:
		if fd.IsList() {
			for i, item := range x {
				w.message(value.Message(), item, append(path, i))
			}
		}
	}
}

// any reads {"@type": URL, fields...}.
func (w *walker) any(m map[string]any, path []any) {
	url, ok := m[typeKey].(string)
	if !ok {
		if len(m) > 0 {
			w.fail(path, `write "@type": type.googleapis.com/...`, "no %q", typeKey)
		}
		return
	}
	desc := w.typeOf(url, append(path, typeKey))
	if desc == nil || strings.HasPrefix(string(desc.FullName()), "google.protobuf.") {
		return
	}
	rest := maps.Clone(m)
	delete(rest, typeKey)
	w.message(desc, rest, path)
}

// typedStruct reads the form in which a message stands as a Struct beside its type's name.
func (w *walker) typedStruct(m map[string]any, path []any) {
	for _, key := range []string{"type_url", "typeUrl"} {
		url, ok := m[key].(string)
		if !ok {
			continue
		}
		if desc := w.typeOf(url, append(path, key)); desc != nil {
			w.message(desc, m["value"], append(path, "value"))
		}
	}
}

// typeOf resolves a type's URL, of which only what follows the last slash counts.
func (w *walker) typeOf(url string, path []any) protoreflect.MessageDescriptor {
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err == nil {
		return t.Descriptor()
	}
	name := url[strings.LastIndexByte(url, '/')+1:]
	fix := ""
	if same := likeNamed(name); same != "" {
		fix = "did you mean type.googleapis.com/" + same + "?"
	}
	w.fail(path, fix, "%s is no type of Envoy's API", name)
	return nil
}

// likeNamed finds the type of today's API with the same last name, as in envoy.config.filter.http.lua.v2.Lua; of several the one
// with the most words in common. "" if there is none.
func likeNamed(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	words := strings.Split(name, ".")
	best, score := "", 0
	protoregistry.GlobalTypes.RangeMessages(func(t protoreflect.MessageType) bool {
		full := string(t.Descriptor().FullName())
		if string(t.Descriptor().Name()) != last || !strings.HasPrefix(full, "envoy.") {
			return true
		}
		common := 0
		for _, w := range strings.Split(full, ".") {
			if slices.Contains(words, w) {
				common++
			}
		}
		if common > score || common == score && full < best {
			best, score = full, common
		}
		return true
	})
	return best
}

func field(desc protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if fd := desc.Fields().ByName(protoreflect.Name(key)); fd != nil {
		return fd
	}
	return desc.Fields().ByJSONName(key)
}

func fieldNames(desc protoreflect.MessageDescriptor) []string {
	var out []string
	for i := range desc.Fields().Len() {
		out = append(out, string(desc.Fields().Get(i).Name()))
	}
	return out
}

// suggest names the field that a misspelt key resembles.
func suggest(key string, names []string) string {
	squeeze := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	for _, n := range names {
		a, b := squeeze(key), squeeze(n)
		if a == b || a+"s" == b || a == b+"s" || len(a) > 4 && (strings.Contains(b, a) || strings.Contains(a, b) && len(b) > 4) || oneOff(a, b) {
			return fmt.Sprintf("did you mean %q?", n)
		}
	}
	return ""
}

// oneOff tells whether two words differ in one letter more, less, or other.
func oneOff(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(a) < 4 || len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i < len(a) && a[i+1:] == b[i+1:]
	}
	return a[i:] == b[i+1:]
}

// locate finds the smallest part of v that cannot be read by itself.
func locate(desc protoreflect.MessageDescriptor, v map[string]any, err error) ([]any, error) {
	for _, key := range slices.Sorted(maps.Keys(v)) {
		fd := field(desc, key)
		if fd == nil {
			continue
		}
		cause := alone(desc, map[string]any{key: v[key]})
		if cause == nil {
			continue
		}
		if path, inner := locateIn(desc, fd, key, v[key], cause); inner != nil {
			return path, inner
		}
		return []any{key}, cause
	}
	return nil, err
}

func locateIn(desc protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor, key string, v any, cause error) ([]any, error) {
	if items, ok := v.([]any); ok && fd.IsList() {
		for i, item := range items {
			if err := alone(desc, map[string]any{key: []any{item}}); err != nil {
				path, inner := below(fd, item, err)
				return append([]any{key, i}, path...), inner
			}
		}
		return []any{key}, cause
	}
	if fd.IsMap() {
		return []any{key}, cause
	}
	path, inner := below(fd, v, cause)
	return append([]any{key}, path...), inner
}

// below looks on inside a message.
func below(fd protoreflect.FieldDescriptor, v any, err error) ([]any, error) {
	m, ok := v.(map[string]any)
	if !ok || fd.Message() == nil {
		return nil, err
	}
	desc := fd.Message()
	if desc.FullName() == "google.protobuf.Any" {
		url, _ := m[typeKey].(string)
		t, missing := protoregistry.GlobalTypes.FindMessageByURL(url)
		if missing != nil {
			return nil, err
		}
		desc, m = t.Descriptor(), maps.Clone(m)
		delete(m, typeKey)
	}
	return locate(desc, m, err)
}

func alone(desc protoreflect.MessageDescriptor, v map[string]any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(raw, dynamicpb.NewMessage(desc))
}
