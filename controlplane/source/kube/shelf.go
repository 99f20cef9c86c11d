package kube

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// shelf is the Secrets of one namespace: one watch tells the names and versions of all, and those that are wanted are read one by one. A
// namespace with hundreds of certificates costs the API server one watch, and this process sees the content of no other Secret.
type shelf struct {
	source    *source
	namespace string
	cancel    context.CancelFunc
	begun     time.Time
	store     cache.Store
	listed    cache.InformerSynced
	queue     workqueue.TypedRateLimitingInterface[string] // of names

	mu     sync.Mutex
	want   map[string]*volume // by name
	denied bool               // the namespace may not be watched as a whole
}

// volume is one Secret of a shelf.
type volume struct {
	asked  bool           // whether it was looked for
	secret *corev1.Secret // as it was read last, trimmed; nil: not there
}

// readers is how many Secrets of a namespace are read at a time.
const readers = 8

// A Secret that cannot be read is tried again, at first after shortest.
const (
	shortest = 200 * time.Millisecond
	longest  = 30 * time.Second
)

func (s *source) openShelf(namespace string) *shelf {
	ctx, cancel := context.WithCancel(s.ctx)
	h := &shelf{
		source: s, namespace: namespace, cancel: cancel, begun: time.Now(), want: map[string]*volume{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](shortest, longest)),
	}
	gvr := corev1.SchemeGroupVersion.WithResource("secrets")
	informer := metadatainformer.NewFilteredMetadataInformer(s.metadata, gvr, namespace, 0, cache.Indexers{}, nil).Informer()
	h.store, h.listed = informer.GetStore(), func() bool { return false }
	note := func(obj any) {
		if key, err := cache.DeletionHandlingObjectToName(obj); err == nil && h.wants(key.Name) {
			h.queue.Add(key.Name)
		}
	}
	w := waiting{what: "Secrets of namespace " + namespace, done: h.read, refused: h.refuse}
	listed, err := s.begin(ctx, w, informer, nameOnly, cache.ResourceEventHandlerFuncs{
		AddFunc: note, UpdateFunc: func(_, obj any) { note(obj) }, DeleteFunc: note,
	})
	if err != nil { // of an informer that has begun, which this one has not
		s.Log.Error("cannot follow Secrets", "namespace", namespace, "error", err)
		return h
	}
	h.mu.Lock()
	h.listed = listed
	h.mu.Unlock()
	for range readers {
		s.group.Go(func() error {
			for h.next(ctx) {
			}
			return nil
		})
	}
	s.group.Go(func() error {
		<-ctx.Done()
		h.queue.ShutDown()
		return nil
	})
	return h
}

// nameOnly keeps of an object its name and version.
func nameOnly(obj any) (any, error) {
	if o, ok := obj.(*metav1.PartialObjectMetadata); ok {
		o.ObjectMeta = metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, ResourceVersion: o.ResourceVersion}
	}
	return obj, nil
}

// refuse takes down that the namespace's Secrets may not be listed, or not be read: then each is watched by its name, which RBAC can allow
// alone.
func (h *shelf) refuse(err error) {
	if !apierrors.IsForbidden(err) {
		return
	}
	h.mu.Lock()
	h.denied = true
	h.mu.Unlock()
	h.source.nudge()
}

func (h *shelf) isDenied() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.denied
}

// read tells whether all that is wanted was looked for. It is not waited for a list that does not come.
func (h *shelf) read() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.denied || !h.listed() {
		return h.denied || time.Since(h.begun) > patience
	}
	for name, v := range h.want {
		if !v.asked && h.has(name) {
			return false
		}
	}
	return true
}

func (h *shelf) has(name string) bool {
	_, there, err := h.store.GetByKey(h.namespace + "/" + name)
	return there && err == nil
}

func (h *shelf) wants(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.want[name] != nil
}

// add wants a Secret from now on.
func (h *shelf) add(name string) {
	h.mu.Lock()
	h.want[name] = &volume{}
	h.mu.Unlock()
	if h.has(name) { // else its event comes
		h.queue.Add(name)
	}
}

// remove wants it no more.
func (h *shelf) remove(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.want, name)
	h.source.put(h.ref(name), nil)
}

func (h *shelf) ref(name string) istio.Ref {
	return istio.Ref{Kind: "Secret", Namespace: h.namespace, Name: name}
}

// next reads one Secret. False: the shelf is closed.
func (h *shelf) next(ctx context.Context) bool {
	name, closed := h.queue.Get()
	if closed {
		return false
	}
	defer h.queue.Done(name)
	if !h.wants(name) {
		return true
	}
	var secret *corev1.Secret
	var err error
	if h.has(name) {
		secret, err = h.source.client.CoreV1().Secrets(h.namespace).Get(ctx, name, metav1.GetOptions{})
	}
	switch {
	case apierrors.IsNotFound(err):
		secret = nil
	case err != nil:
		h.source.problems.tell(h.ref(name).String(), err)
		h.queue.AddRateLimited(name)
		h.take(name, nil, err)
		h.refuse(err)
		return true
	}
	h.queue.Forget(name)
	h.take(name, secret, nil)
	return true
}

// take notes what was read of a Secret; nil: it is not there. What cannot be read stays as it was.
func (h *shelf) take(name string, secret *corev1.Secret, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.want[name]
	if v == nil {
		return
	}
	v.asked = true
	switch {
	case err != nil:
	case secret == nil:
		v.secret = nil
		h.source.put(h.ref(name), nil)
	default:
		_, _ = trim(secret) // in its place
		if v.secret == nil || !same(v.secret, secret) {
			v.secret = secret
			h.source.put(h.ref(name), h.source.decode("Secret", secret))
		}
	}
}
