package status

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/mizzen-mesh/mizzen/controlplane/crd"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// manager owns, by server-side apply, what the writer writes; what others write into a status stays theirs.
const manager = "mizzen-controlplane"

// A leader writes no faster than this, whatever happens.
const (
	perSecond = 10
	burst     = 20
)

// writer is the leader's, for one term.
type writer struct {
	Options
	kinds   map[string]istio.Kind // that are written, by name
	written map[istio.Ref]verdict // what the objects say, as far as it is known
	known   map[string]bool       // kinds whose objects were read once
	limit   flowcontrol.RateLimiter
	told    string // the last failure that was logged
	inbox
}

func newWriter(o Options) *writer {
	w := &writer{
		Options: o, kinds: map[string]istio.Kind{}, written: map[istio.Ref]verdict{}, known: map[string]bool{},
		limit: flowcontrol.NewTokenBucketRateLimiter(perSecond, burst), inbox: inbox{seen: map[string]posted{}},
	}
	for _, k := range crd.Kinds() {
		w.kinds[k.Name] = k
	}
	return w
}

// run writes until ctx is done.
func (w *writer) run(ctx context.Context) {
	defer w.limit.Stop()
	defer w.readNotes(ctx)()
	tick := time.NewTicker(w.Terms.Look)
	defer tick.Stop()
	for {
		if err := w.pass(ctx); err != nil && ctx.Err() == nil && err.Error() != w.told {
			w.told = err.Error()
			w.Log.Warn("cannot write status, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pass makes what the objects say what is to be said. The first error is returned, and the rest tried all the same.
func (w *writer) pass(ctx context.Context) (first error) {
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	note(w.recall(ctx))
	notes, err := w.heard(ctx)
	note(err)
	want := verdicts(w.Diagnostics(notes), func(kind string) bool { return w.known[kind] })
	for ref := range w.written {
		if _, ok := want[ref]; !ok {
			want[ref] = verdict{}
		}
	}
	for _, ref := range slices.SortedFunc(maps.Keys(want), istio.Ref.Compare) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if have, ok := w.written[ref]; ok && reflect.DeepEqual(have, want[ref]) {
			continue
		}
		if err := w.limit.Wait(ctx); err != nil {
			return fmt.Errorf("write status: %w", err)
		}
		note(w.write(ctx, ref, want[ref]))
	}
	return first
}

// recall finds out what leaders before have written, once for every kind that there is.
func (w *writer) recall(ctx context.Context) (first error) {
	for _, name := range slices.Sorted(maps.Keys(w.kinds)) {
		if w.known[name] {
			continue
		}
		err := w.recallKind(ctx, w.kinds[name])
		switch {
		case err == nil:
			w.known[name] = true
		case apierrors.IsNotFound(err): // it has no definition yet
		case first == nil:
			first = fmt.Errorf("read what the status of %s says: %w", w.kinds[name].Plural, err)
		}
	}
	return first
}

func (w *writer) recallKind(ctx context.Context, k istio.Kind) error {
	o := metav1.ListOptions{Limit: 500}
	for {
		l, err := w.resource(k).List(ctx, o)
		if err != nil {
			return err
		}
		for i := range l.Items {
			if v, ours := read(&l.Items[i]); ours {
				w.written[istio.Ref{Kind: k.Name, Namespace: l.Items[i].GetNamespace(), Name: l.Items[i].GetName()}] = v
			}
		}
		if o.Continue = l.GetContinue(); o.Continue == "" {
			return nil
		}
	}
}

func (w *writer) resource(k istio.Kind) dynamic.NamespaceableResourceInterface {
	return w.Dynamic.Resource(schema.GroupVersionResource{Group: k.Group, Version: k.Versions[0], Resource: k.Plural})
}

// condition is Istio's IstioCondition.
type condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason,omitempty"`
	Message            string `json:"message,omitempty"`
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
}

// read is what a status says of ours; ours is false if it has nothing that this manager wrote.
func read(u *unstructured.Unstructured) (v verdict, ours bool) {
	ours = slices.ContainsFunc(u.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == manager && f.Subresource == "status"
	})
	var s struct {
		Conditions         []condition `json:"conditions"`
		ValidationMessages []message   `json:"validationMessages"`
	}
	raw, err := json.Marshal(u.Object["status"])
	if !ours || err != nil || json.Unmarshal(raw, &s) != nil {
		return verdict{}, ours
	}
	for _, c := range s.Conditions {
		if c.Type == conditionType {
			v.reason, v.message = c.Reason, c.Message
		}
	}
	v.messages = s.ValidationMessages
	return v, true
}

// write applies a verdict, the zero one by taking away what was written.
func (w *writer) write(ctx context.Context, ref istio.Ref, v verdict) error {
	k := w.kinds[ref.Kind]
	api := w.resource(k).Namespace(ref.Namespace)
	u, err := api.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		delete(w.written, ref)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	have, ours := read(u)
	if reflect.DeepEqual(have, v) {
		w.remember(ref, v, ours)
		return nil
	}
	body := map[string]any{
		"apiVersion": k.APIVersion(), "kind": k.Name, "metadata": map[string]any{"name": ref.Name, "namespace": ref.Namespace, "uid": u.GetUID()},
	}
	if status := v.status(u.GetGeneration(), since(u, w.Now())); len(status) > 0 {
		body["status"] = status
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the status of %s: %w", ref, err)
	}
	force := true
	_, err = api.Patch(ctx, ref.Name, types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: manager, Force: &force}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // it went, or is another of that name
		delete(w.written, ref)
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the status of %s: %w", ref, err)
	}
	w.remember(ref, v, true)
	return nil
}

// remember notes what an object says. One that says nothing is not looked at again.
func (w *writer) remember(ref istio.Ref, v verdict, ours bool) {
	if reflect.DeepEqual(v, verdict{}) {
		delete(w.written, ref)
	} else if ours {
		w.written[ref] = v
	}
}

// since is when the condition became what it is: before now, if it stands already.
func since(u *unstructured.Unstructured, now time.Time) string {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions") // what is no list has no such condition
	for _, item := range list {
		c, _ := item.(map[string]any)
		if at, _ := c["lastTransitionTime"].(string); at != "" && c["type"] == conditionType && c["status"] == "False" {
			return at
		}
	}
	return now.UTC().Format(time.RFC3339)
}

// status is what is applied; empty for the zero verdict.
func (v verdict) status(generation int64, since string) map[string]any {
	out := map[string]any{}
	if len(v.messages) > 0 {
		out["validationMessages"] = v.messages
		out["observedGeneration"] = generation
	}
	if v.reason != "" {
		out["conditions"] = []condition{{
			Type: conditionType, Status: "False", Reason: v.reason, Message: v.message,
			LastTransitionTime: since, ObservedGeneration: generation,
		}}
	}
	return out
}
