// Package overlay is the part of a running mesh's configuration that came by `mizzen apply` and `mizzen delete`: a folder in
// the state directory that is read after the user's files, so that it wins over them.
package overlay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Result is what happened to one object.
type Result struct {
	Resource string // "virtualservice.networking.istio.io/reviews", as kubectl writes it
	Action   string // created, configured, unchanged, deleted
}

// String is kubectl's line.
func (r Result) String() string { return r.Resource + " " + r.Action }

// Overlay is the applied folder of one mesh, with what was read when it was opened.
type Overlay struct {
	state   *state.State
	now     func() time.Time
	base    istio.Set // the user's files
	current istio.Set // with the overlay
	unlock  func()
}

// Open reads the configuration in force and locks the overlay against other writers until Close.
func Open(s *state.State, now func() time.Time) (*Overlay, error) {
	unlock, err := state.LockOverlay(s.Dir)
	if err != nil {
		return nil, err
	}
	o := &Overlay{state: s, now: now, unlock: unlock}
	if o.base, _, err = dir.Load(s.Files); err == nil {
		o.current, _, err = dir.Load(append(slices.Clone(s.Files), state.AppliedDir(s.Dir)))
	}
	if err != nil {
		unlock()
		return nil, err
	}
	o.current = o.current.Only(func(m *istio.Meta) bool { return !IsMarkerObject(m) })
	return o, nil
}

// Close lets others write.
func (o *Overlay) Close() { o.unlock() }

// Current is what is in force: the user's files under the overlay.
func (o *Overlay) Current() istio.Set { return o.current }

// Apply writes the objects of a set that is free of errors. The revision is "" if nothing changed.
func (o *Overlay) Apply(set istio.Set) (results []Result, revision string, err error) {
	changed := false
	for _, m := range set.Metas() {
		r := Result{Resource: Resource(m.Ref), Action: "created"}
		old := find(&o.current, m.Ref)
		if old != nil {
			r.Action = "configured"
			if same(old.Raw, m.Raw) {
				r.Action = "unchanged"
			}
		}
		results = append(results, r)
		if r.Action == "unchanged" {
			continue
		}
		raw, err := o.render(m, old)
		if err != nil {
			return results, "", err
		}
		if err := wholefile.Content(o.file(m.Ref), 0o644, raw); err != nil {
			return results, "", err
		}
		changed = true
	}
	if !changed {
		return results, "", nil
	}
	revision, err = o.mark()
	return results, revision, err
}

// Delete takes objects out: those of the overlay by their file, those of the user's files by an object that says so. One
// that cannot be deleted does not keep the others.
func (o *Overlay) Delete(refs []istio.Ref) (results []Result, revision string, err error) {
	var failed []error
	for _, ref := range refs {
		if err := o.remove(ref); err != nil {
			failed = append(failed, err)
			continue
		}
		results = append(results, Result{Resource: Resource(ref), Action: "deleted"})
	}
	if len(results) > 0 {
		if revision, err = o.mark(); err != nil {
			failed = append(failed, err)
		}
	}
	return results, revision, errors.Join(failed...)
}

func (o *Overlay) remove(ref istio.Ref) error {
	m := find(&o.current, ref)
	if m == nil {
		return fmt.Errorf("delete %s: not found in namespace %s", strings.Replace(Resource(ref), "/", " ", 1), ref.Namespace)
	}
	if m.From != nil {
		return fmt.Errorf("delete %s: it is what objects of old kinds come to; delete %s", Resource(ref), m.From)
	}
	var err error
	if find(&o.base, ref) == nil {
		err = os.Remove(o.file(ref))
	} else {
		err = o.bury(m)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", Resource(ref), err)
	}
	return nil
}

// bury hides an object of the user's files. It repeats the object, so that it stays valid whatever its kind requires.
func (o *Overlay) bury(m *istio.Meta) error {
	object, err := decode(m.Raw)
	if err != nil {
		return err
	}
	meta := metadata(object, m)
	annotations, _ := meta["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations[istio.AnnotationDeleted] = "true"
	meta["annotations"] = annotations
	raw, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	return wholefile.Content(o.file(m.Ref), 0o644, raw)
}

// render is the object as it is kept: as the user wrote it, with its namespace, and with its time of creation unless it
// stands in the user's files, whose objects have none.
func (o *Overlay) render(m, old *istio.Meta) ([]byte, error) {
	object, err := decode(m.Raw)
	if err != nil {
		return nil, err
	}
	meta := metadata(object, m)
	if meta["creationTimestamp"] == nil && find(&o.base, m.Ref) == nil {
		created := o.now()
		if old != nil && !old.CreationTimestamp.IsZero() {
			created = old.CreationTimestamp
		}
		meta["creationTimestamp"] = created.UTC().Format(time.RFC3339)
	}
	return yaml.Marshal(object)
}

func (o *Overlay) mark() (string, error) {
	revision := "r" + strconv.FormatInt(o.now().UnixNano(), 36)
	return revision, writeMarker(state.AppliedDir(o.state.Dir), revision)
}

func (o *Overlay) file(r istio.Ref) string {
	name := strings.ToLower(r.Kind) + "-" + cmp.Or(r.Namespace, "cluster") + "-" + r.Name + ".yaml"
	return filepath.Join(state.AppliedDir(o.state.Dir), strings.ReplaceAll(name, string(filepath.Separator), "-"))
}

// Await returns once the mesh has taken the revision up and every proxy has acknowledged it.
func Await(ctx context.Context, s *state.State, revision string) error {
	if revision == "" {
		return nil
	}
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := state.Read(s.Dir)
		if err != nil {
			return fmt.Errorf("wait for proxies: the mesh has ended: %w", err)
		}
		if now.Revision == revision {
			return nil
		}
		if now.Revision > revision && len(now.Revision) == len(revision) {
			return nil // overtaken by a later one, which includes this one
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for proxies: not all have acknowledged in time; see `mizzen proxy-status`")
		case <-tick.C:
		}
	}
}

// Explicit is the object as JSON, as the user wrote it, with its namespace.
func Explicit(m *istio.Meta) ([]byte, error) {
	object, err := decode(m.Raw)
	if err != nil {
		return nil, err
	}
	metadata(object, m)
	return json.Marshal(object)
}

// Resource writes an object's name as kubectl does: kind.group/name.
func Resource(r istio.Ref) string {
	name := strings.ToLower(r.Kind)
	if k, ok := istio.FindKind(r.Kind); ok && k.Group != "" {
		name += "." + k.Group
	}
	return name + "/" + r.Name
}

// WithNamespace gives objects that name no namespace the one given, in place of "default".
func WithNamespace(set istio.Set, namespace string) istio.Set {
	if namespace == "" || namespace == "default" {
		return set
	}
	for _, m := range set.Metas() {
		k, _ := istio.FindKind(m.Kind)
		object, err := decode(m.Raw)
		if err != nil || !k.Namespaced {
			continue
		}
		meta, _ := object["metadata"].(map[string]any)
		if ns, _ := meta["namespace"].(string); ns == "" && m.Namespace != namespace {
			m.Namespace = namespace
		}
	}
	return set
}

func find(set *istio.Set, ref istio.Ref) *istio.Meta {
	for _, m := range set.Metas() {
		if m.Ref == ref {
			return m
		}
	}
	return nil
}

func decode(raw []byte) (map[string]any, error) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	return object, nil
}

// metadata returns the object's metadata with the namespace in it.
func metadata(object map[string]any, m *istio.Meta) map[string]any {
	meta, _ := object["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{"name": m.Name}
		object["metadata"] = meta
	}
	if m.Namespace != "" {
		meta["namespace"] = m.Namespace
	}
	return meta
}

// same compares what users mean: not the namespace, which both have, nor what we add.
func same(a, b []byte) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	if errX != nil || errY != nil {
		return false
	}
	for _, o := range []map[string]any{x, y} {
		if meta, _ := o["metadata"].(map[string]any); meta != nil {
			delete(meta, "namespace")
			delete(meta, "creationTimestamp")
		}
	}
	return reflect.DeepEqual(x, y)
}
