package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// start begins to follow everything but Secrets.
func (s *source) start() error {
	if s.Kinds != nil {
		return s.followKinds()
	}
	f := informers.NewSharedInformerFactory(s.client, 0)
	living := func(o *metav1.ListOptions) { o.FieldSelector = alive().FieldSelector }
	for _, one := range []struct {
		kind     string
		informer cache.SharedIndexInformer
	}{
		{"Service", f.Core().V1().Services().Informer()},
		{"EndpointSlice", f.Discovery().V1().EndpointSlices().Informer()},
		{"Pod", coreinformers.NewFilteredPodInformer(s.client, metav1.NamespaceAll, 0, cache.Indexers{}, living)},
		{"Namespace", s.metadataOf("namespaces")},
		{"Node", s.metadataOf("nodes")},
		{"ConfigMap", s.meshConfig()},
	} {
		if err := s.follow(s.ctx, one.kind, one.informer, trim); err != nil {
			return err
		}
	}
	return s.followKinds()
}

// alive picks the pods that run or will: what has ended is in no mesh.
func alive() metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)), fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	).String()}
}

// metadataOf is for core kinds of which labels alone count.
func (s *source) metadataOf(resource string) cache.SharedIndexInformer {
	gvr := corev1.SchemeGroupVersion.WithResource(resource)
	return metadatainformer.NewFilteredMetadataInformer(s.metadata, gvr, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
}

// named bounds a list to one object, which is all that RBAC need allow.
func named(name string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	}
}

func (s *source) meshConfig() cache.SharedIndexInformer {
	return coreinformers.NewFilteredConfigMapInformer(s.client, s.Namespace, 0, cache.Indexers{}, named(MeshConfigMap(s.Revision)))
}

// follow runs an informer until ctx is done, and notes what becomes of its objects.
func (s *source) follow(ctx context.Context, kind string, informer cache.SharedIndexInformer, transform cache.TransformFunc) error {
	_, err := s.register(ctx, kind, waiting{what: kind}, informer, transform)
	return err
}

func (s *source) register(ctx context.Context, kind string, w waiting, informer cache.SharedIndexInformer, transform cache.TransformFunc) (cache.InformerSynced, error) {
	note := func(obj any, there bool) {
		if lost, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = lost.Obj
		}
		o, ok := obj.(metav1.Object)
		if !ok {
			return
		}
		var r *read
		if there {
			r = s.decode(kind, o)
		}
		s.put(istio.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}, r)
	}
	return s.begin(ctx, w, informer, transform, cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { note(obj, true) },
		UpdateFunc: func(old, obj any) {
			if !same(old, obj) {
				note(obj, true)
			}
		},
		DeleteFunc: func(obj any) { note(obj, false) },
	})
}

// begin runs an informer until ctx is done. What it returns says whether h has been told of all that there is.
func (s *source) begin(ctx context.Context, w waiting, informer cache.SharedIndexInformer, transform cache.TransformFunc, h cache.ResourceEventHandler) (cache.InformerSynced, error) {
	err := informer.SetTransform(transform)
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			s.problems.tell(w.what, err)
			if w.refused != nil {
				w.refused(err)
			}
		})
	}
	var handle cache.ResourceEventHandlerRegistration
	if err == nil {
		handle, err = informer.AddEventHandler(h)
	}
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", w.what, err)
	}
	done := w.done
	if done == nil {
		done = handle.HasSynced
	}
	w.synced = func() bool { return ctx.Err() != nil || done() }
	s.mu.Lock()
	if !s.read {
		s.synced = append(s.synced, w)
	}
	s.mu.Unlock()
	s.group.Go(func() error {
		informer.RunWithContext(ctx)
		return nil
	})
	return handle.HasSynced, nil
}

// decode reads an object that follow was told of. Nil: it is none for this mesh.
func (s *source) decode(kind string, o metav1.Object) *read {
	r := &read{}
	switch o := o.(type) {
	case *entry:
		return o.read
	case *corev1.ConfigMap:
		if o.Data[meshEntry] == "" {
			return nil
		}
		r.set, r.diags = istio.LiveMeshConfig(istio.Ref{Kind: kind, Namespace: o.Namespace, Name: o.Name}, o.Data[meshEntry])
	case *metav1.PartialObjectMetadata:
		if kind == "Node" {
			r.set, r.diags = istio.LiveObject(&corev1.Node{ObjectMeta: o.ObjectMeta})
		} else {
			r.set, r.diags = istio.LiveObject(&corev1.Namespace{ObjectMeta: o.ObjectMeta})
		}
	default:
		r.set, r.diags = istio.LiveObject(o)
	}
	return r
}

// problems tells of what the API server refuses, the same once in a while.
type problems struct {
	log  *slog.Logger
	mu   sync.Mutex
	told map[string]time.Time
}

// repeat is how often the same problem is told again.
const repeat = time.Minute

func (p *problems) tell(what string, err error) {
	if errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || errors.Is(err, context.Canceled) {
		return // a watch ends now and then, and is begun again
	}
	if in := (&url.Error{}); errors.As(err, &in) {
		err = in.Err // the API server is away: once is enough for all kinds
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.told[err.Error()]) > repeat {
		p.told[err.Error()] = now
		p.log.Warn("cannot follow the API server, what was read stays in force", "kind", what, "error", err)
	}
}
