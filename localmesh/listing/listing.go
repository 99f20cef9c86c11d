// Package listing prints objects as kubectl does: tables with the columns of the kind, or YAML, JSON and names.
package listing

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Query says which objects to list.
type Query struct {
	Kinds     []istio.Kind
	Names     []string // empty: all
	Namespace string
	All       bool // of every namespace
}

// ParseQuery reads the arguments of `get` and `delete`: KIND[,KIND...] [NAME...], or KIND/NAME...
func ParseQuery(args []string, namespace string, all bool) (Query, error) {
	q := Query{Namespace: namespace, All: all}
	kinds, names := args[0], args[1:]
	if kind, name, ok := strings.Cut(kinds, "/"); ok {
		kinds, names = kind, []string{name}
		for _, a := range args[1:] {
			k, n, ok := strings.Cut(a, "/")
			if !ok || !strings.EqualFold(k, kind) {
				return q, fmt.Errorf("read arguments: %q is not %s/NAME", a, kind)
			}
			names = append(names, n)
		}
	}
	for _, word := range strings.Split(kinds, ",") {
		if strings.EqualFold(word, "all") {
			q.Kinds = append(q.Kinds, istio.Known()...)
			continue
		}
		k, ok := istio.FindKind(word)
		if !ok {
			return q, fmt.Errorf("read arguments: unknown kind %q; known are %s", word, strings.Join(shortNames(), ", "))
		}
		q.Kinds = append(q.Kinds, k)
	}
	q.Names = names
	return q, nil
}

func shortNames() []string {
	var out []string
	for _, k := range istio.Known() {
		if len(k.Short) > 0 {
			out = append(out, k.Short[0])
		}
	}
	return out
}

// Find returns the objects that the query means. A name that is not found is an error.
func (q Query) Find(set istio.Set) ([]*istio.Meta, error) {
	var out []*istio.Meta
	for _, k := range q.Kinds {
		var found []*istio.Meta
		for _, m := range set.Metas() {
			if m.Kind == k.Name && (q.All || !k.Namespaced || m.Namespace == q.Namespace) {
				found = append(found, m)
			}
		}
		if len(q.Names) == 0 {
			out = append(out, found...)
			continue
		}
		for _, name := range q.Names {
			n := len(out)
			for _, m := range found {
				if m.Name == name {
					out = append(out, m)
				}
			}
			if len(out) == n {
				return nil, fmt.Errorf("find %s %q: not found %s", k.Plural, name, q.where(set, k.Name, name))
			}
		}
	}
	return out, nil
}

// where says where an object was looked for in vain, and where there is one of its name.
func (q Query) where(set istio.Set, kind, name string) string {
	if q.All {
		return "anywhere"
	}
	for _, m := range set.Metas() {
		if m.Kind == kind && m.Name == name {
			return fmt.Sprintf("in namespace %s; there is one in %s: add -n %s", q.Namespace, m.Namespace, m.Namespace)
		}
	}
	return "in namespace " + q.Namespace
}

// Printer prints what was found.
type Printer struct {
	Set   istio.Set
	State *state.State
	Now   time.Time
	// Namespaces adds the column NAMESPACE.
	Namespaces bool
}

// Table prints one table per kind. With several kinds the names carry theirs, as kubectl's do.
func (p Printer) Table(w io.Writer, objects []*istio.Meta) error {
	several := false
	for _, m := range objects {
		several = several || m.Kind != objects[0].Kind
	}
	for i := 0; i < len(objects); {
		j := i
		for j < len(objects) && objects[j].Kind == objects[i].Kind {
			j++
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := p.table(w, objects[i:j], several); err != nil {
			return err
		}
		i = j
	}
	return nil
}

func (p Printer) table(w io.Writer, objects []*istio.Meta, qualified bool) error {
	t := tabwriter.NewWriter(w, 6, 8, 3, ' ', 0)
	c := columnsOf(objects[0].Kind)
	header := append([]string{"NAME"}, c.names...)
	if p.Namespaces {
		header = append([]string{"NAMESPACE"}, header...)
	}
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, m := range objects {
		name := m.Name
		if qualified {
			name = overlay.Resource(m.Ref)
		}
		row := append([]string{name}, c.cells(p, m)...)
		if p.Namespaces {
			row = append([]string{m.Namespace}, row...)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// Names prints kind.group/name lines.
func (p Printer) Names(w io.Writer, objects []*istio.Meta) error {
	for _, m := range objects {
		fmt.Fprintln(w, overlay.Resource(m.Ref))
	}
	return nil
}

// Objects prints YAML or JSON: the object itself if one was asked for by name, else a List.
func (p Printer) Objects(w io.Writer, objects []*istio.Meta, asJSON, single bool) error {
	items := make([]any, 0, len(objects))
	given := p.given(objects)
	for _, m := range objects {
		var o map[string]any
		if err := json.Unmarshal(m.Raw, &o); err != nil {
			return fmt.Errorf("print %s: %w", m.Ref, err)
		}
		if meta, _ := o["metadata"].(map[string]any); meta != nil && m.Namespace != "" {
			meta["namespace"] = m.Namespace
		}
		if a := given[m.Ref]; len(a) > 0 {
			status, ok := o["status"].(map[string]any)
			if !ok {
				status = map[string]any{}
				o["status"] = status
			}
			if _, ok := status["addresses"]; !ok {
				status["addresses"] = a
			}
		}
		items = append(items, o)
	}
	var v any = map[string]any{"apiVersion": "v1", "kind": "List", "items": items, "metadata": map[string]any{}}
	if single && len(items) == 1 {
		v = items[0]
	}
	raw, err := json.MarshalIndent(v, "", "    ")
	if err == nil && !asJSON {
		raw, err = yaml.JSONToYAML(raw)
	}
	if err != nil {
		return fmt.Errorf("print objects: %w", err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(raw), "\n"))
	return err
}

// address is one that a host of a ServiceEntry is given, as istiod writes it into the status.
type address struct {
	Host  string `json:"host"`
	Value string `json:"value"`
}

// given are the addresses that hosts of ServiceEntries without any have in the mesh.
func (p Printer) given(objects []*istio.Meta) map[istio.Ref][]address {
	out := map[istio.Ref][]address{}
	if !slices.ContainsFunc(objects, func(m *istio.Meta) bool { return m.Kind == "ServiceEntry" }) {
		return out
	}
	w, _ := compile.World(compile.Inputs{Set: p.Set})
	for _, s := range w.Services {
		ref := istio.Ref{Kind: s.Origin.Kind, Namespace: s.Origin.Namespace, Name: s.Origin.Name}
		for _, a := range s.Auto {
			out[ref] = append(out[ref], address{s.Hostname, a})
		}
	}
	return out
}
