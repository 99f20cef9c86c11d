package status

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Replicas share one ConfigMap, in which each has an entry by its identity while it has something to tell: a line with the time, which
// changes as long as the replica lives, and its note. None has a right to more than this ConfigMap, and a mesh without complaints has none.

// LongestNote is how many bytes a note has at most: an object of the API server holds a mebibyte of them.
const LongestNote = 32 << 10

// post keeps this replica's entry until ctx is done, and takes it away then.
func (o Options) post(ctx context.Context) {
	if o.Note == nil {
		return
	}
	tick := time.NewTicker(o.Terms.Look)
	defer tick.Stop()
	var said, told string // in the entry; the last failure
	var at time.Time      // when it was written
	for {
		note := o.Note()
		if note != said || note != "" && o.Now().Sub(at) >= o.Terms.Lease/2 {
			err := o.putNote(ctx, note)
			switch {
			case err == nil:
				said, at, told = note, o.Now(), ""
			case ctx.Err() == nil && err.Error() != told:
				told = err.Error()
				o.Log.Warn("cannot tell the leader what proxies refuse, trying again", "error", err)
			}
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		if said != "" {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			_ = o.putNote(last, "") // else the leader takes it away in its time
		}
		return
	}
}

// farewell is how long a replica that ends tries to take its entry away.
const farewell = 2 * time.Second

// putNote writes this replica's entry; "" takes it away.
func (o Options) putNote(ctx context.Context, note string) error {
	api := o.Client.CoreV1().ConfigMaps(o.Namespace)
	var entry *string // null takes it away
	if note != "" {
		text := o.Now().UTC().Format(time.RFC3339Nano) + "\n" + note
		entry = &text
	}
	patch, err := json.Marshal(map[string]any{"data": map[string]*string{o.Identity: entry}})
	if err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	_, err = api.Patch(ctx, o.Notes, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	if apierrors.IsNotFound(err) {
		if entry == nil {
			return nil
		}
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: o.Notes, Labels: map[string]string{"app.kubernetes.io/part-of": "mizzen"}}, Data: map[string]string{o.Identity: *entry}}
		_, err = api.Create(ctx, m, metav1.CreateOptions{FieldManager: manager}) // if another replica was first, the next time is in a moment
	}
	if err != nil {
		return fmt.Errorf("write ConfigMap %s/%s: %w", o.Namespace, o.Notes, err)
	}
	return nil
}

// inbox is what the leader has of the notes.
type inbox struct {
	notes corelisters.ConfigMapLister // nil: there never are any
	seen  map[string]posted           // by identity
}

// posted is an entry, and since when it has been as it is.
type posted struct {
	entry string
	since time.Time
}

// readNotes begins to follow the notes, and waits until those that there are have been read: what other replicas said before this one led
// is not to be forgotten. The caller calls stop, after ctx is done.
func (w *writer) readNotes(ctx context.Context) (stop func()) {
	if w.Note == nil {
		return func() {}
	}
	f := informers.NewSharedInformerFactoryWithOptions(w.Client, 0, informers.WithNamespace(w.Namespace), informers.WithTweakListOptions(func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.Notes).String()
	}))
	all := f.Core().V1().ConfigMaps()
	synced := all.Informer().HasSynced
	f.Start(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), synced)
	w.inbox.notes = all.Lister()
	return f.Shutdown
}

// heard gives the notes of the other replicas. An entry that has not changed for long is of one that is gone, and is taken away.
func (w *writer) heard(ctx context.Context) (out []string, err error) {
	if w.inbox.notes == nil {
		return nil, nil
	}
	m, missing := w.inbox.notes.ConfigMaps(w.Namespace).Get(w.Notes)
	if missing != nil { // a lister knows no other error
		return nil, nil
	}
	now := w.Now()
	maps.DeleteFunc(w.seen, func(who string, _ posted) bool { _, there := m.Data[who]; return !there })
	for _, who := range slices.Sorted(maps.Keys(m.Data)) {
		entry := m.Data[who]
		if who == w.Identity {
			continue
		}
		if w.seen[who].entry != entry {
			w.seen[who] = posted{entry, now}
		}
		if now.Sub(w.seen[who].since) > 2*w.Terms.Lease {
			err = w.dropNote(ctx, who, entry)
			continue
		}
		_, note, _ := strings.Cut(entry, "\n")
		out = append(out, note)
	}
	return out, err
}

// dropNote takes away the entry of a replica that is gone, unless it has changed by now.
func (w *writer) dropNote(ctx context.Context, who, entry string) error {
	type step struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value,omitempty"`
	}
	path := "/data/" + who // identities have no character that a JSON pointer escapes
	patch, err := json.Marshal([]step{{"test", path, entry}, {"remove", path, ""}})
	if err == nil {
		_, err = w.Client.CoreV1().ConfigMaps(w.Namespace).Patch(ctx, w.Notes, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: manager})
	}
	if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("take away the note of %s: %w", who, err)
	}
	return nil
}
