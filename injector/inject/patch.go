package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Operation is one of RFC 6902: "add", "replace" or "remove".
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Patch says how one pod becomes the other, in an order that is always the same. Containers and volumes are told apart by their names:
// what stands in them that this build's Kubernetes types do not know stays with them, wherever a proxy is put.
func Patch(before, after *corev1.Pod) ([]Operation, error) {
	a, err := tree(before)
	if err != nil {
		return nil, err
	}
	b, err := tree(after)
	if err != nil {
		return nil, err
	}
	var d differ
	d.object("", a, b)
	return d.ops, nil
}

func tree(pod *corev1.Pod) (map[string]any, error) {
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("write pod: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("read pod: %w", err)
	}
	return out, nil
}

type differ struct{ ops []Operation }

func (d *differ) add(op, path string, value any) {
	d.ops = append(d.ops, Operation{op, path, value})
}

func below(path, key string) string {
	return path + "/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

func (d *differ) object(path string, a, b map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[k]; !ok {
			d.add("remove", below(path, k), nil)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		have, ok := a[k]
		if empty, _ := have.(map[string]any); !ok || empty != nil && len(empty) == 0 && !reflect.DeepEqual(have, b[k]) {
			d.add("add", below(path, k), b[k]) // what is empty in Kubernetes' types may be missing in the text
			continue
		}
		d.value(below(path, k), have, b[k])
	}
}

func (d *differ) value(path string, a, b any) {
	if reflect.DeepEqual(a, b) {
		return
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			d.object(path, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok && d.list(path, x, y) {
			return
		}
	}
	d.add("replace", path, b)
}

// list goes from one list of named objects to the other; false if they are none, or their own order changed: then it is replaced.
func (d *differ) list(path string, a, b []any) bool {
	have, ok1 := names(a)
	want, ok2 := names(b)
	if !ok1 || !ok2 {
		return false
	}
	kept := func(list, other []string, ours bool) (out []string) {
		for _, n := range list {
			if slices.Contains(other, n) && (ours || !injectors(n)) {
				out = append(out, n)
			}
		}
		return out
	}
	ours := slices.Equal(kept(have, want, true), kept(want, have, true))
	keep := kept(want, have, ours)
	if !slices.Equal(kept(have, want, ours), keep) {
		return false
	}
	for i := len(have) - 1; i >= 0; i-- {
		if !slices.Contains(keep, have[i]) {
			d.add("remove", path+"/"+strconv.Itoa(i), nil)
		}
	}
	for i, n := range want {
		at := path + "/" + strconv.Itoa(i)
		if !slices.Contains(keep, n) {
			d.add("add", at, b[i])
			continue
		}
		d.value(at, a[slices.Index(have, n)], b[i])
	}
	return true
}

func injectors(name string) bool {
	return slices.Contains([]string{ProxyContainer, InitContainer, ModuleContainer}, name)
}

// names of a list's objects; false unless each has one, of its own.
func names(list []any) ([]string, bool) {
	var out []string
	for _, x := range list {
		m, _ := x.(map[string]any)
		n, ok := m["name"].(string)
		if !ok || slices.Contains(out, n) {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}
