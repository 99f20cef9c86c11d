package compile

import (
	"reflect"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Reuse puts parts of an older World in the place of equal parts of a newer one, which nobody else has seen yet: whoever
// compares the two by identity then finds what is different, and nothing else. A nil old World has no parts.
func Reuse(old, now *mesh.World) {
	if old == nil {
		return
	}
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem()
	for i := range b.NumField() {
		was, is := a.Field(i), b.Field(i)
		switch {
		case is.Kind() == reflect.Slice && is.Type().Elem().Kind() == reflect.Pointer:
			reuseParts(was, is)
		case is.Kind() == reflect.Pointer && !is.IsNil() && reflect.DeepEqual(was.Interface(), is.Interface()):
			is.Set(was)
		}
	}
	for k, list := range now.Endpoints {
		if was, ok := old.Endpoints[k]; ok && slices.EqualFunc(was, list, sameEndpoint) {
			now.Endpoints[k] = was
		}
	}
}

func sameEndpoint(a, b *mesh.Endpoint) bool { return a == b || reflect.DeepEqual(a, b) }

// partKey is what tells the parts of one list apart, or nearly.
type partKey [4]string

// keyFields of a part, as far as it has them.
var keyFields = [len(partKey{})]string{"Hostname", "Namespace", "Name", "Address"}

// reuseParts takes up equal parts of a list, wherever they stand in it.
func reuseParts(was, is reflect.Value) {
	at := keyIndexes(is.Type().Elem().Elem())
	byKey := make(map[partKey][]reflect.Value, was.Len())
	for i := range was.Len() {
		k := keyOf(was.Index(i), at)
		byKey[k] = append(byKey[k], was.Index(i))
	}
	for i := range is.Len() {
		part := is.Index(i)
		k := keyOf(part, at)
		same := slices.IndexFunc(byKey[k], func(v reflect.Value) bool {
			return reflect.DeepEqual(v.Interface(), part.Interface())
		})
		if same < 0 {
			continue
		}
		part.Set(byKey[k][same])
		byKey[k] = slices.Delete(byKey[k], same, same+1) // two equal parts stay two
	}
}

// keyIndexes are where a part's struct has the key's fields; -1 where it has none.
func keyIndexes(t reflect.Type) (at [len(partKey{})]int) {
	for i, name := range keyFields {
		at[i] = -1
		if f, ok := t.FieldByName(name); ok && f.Type.Kind() == reflect.String && len(f.Index) == 1 {
			at[i] = f.Index[0]
		}
	}
	return at
}

func keyOf(part reflect.Value, at [len(partKey{})]int) (k partKey) {
	if part.IsNil() {
		return k
	}
	for i, f := range at {
		if f >= 0 {
			k[i] = part.Elem().Field(f).String()
		}
	}
	return k
}
