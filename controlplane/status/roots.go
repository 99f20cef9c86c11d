package status

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

// The ConfigMap that injected pods mount; its names are Istio's.
const (
	RootsConfigMap = "istio-ca-root-cert"
	RootsKey       = "root-cert.pem"
)

// rootsLabel is Istio's mark of what its control plane writes.
const rootsLabel = "istio.io/config"

// systems are Kubernetes' own namespaces, in which nothing is ever injected.
func systems() []string { return []string{"kube-system", "kube-public", "kube-node-lease"} }

// keepRoots keeps the ConfigMap in every namespace until ctx is done.
func (o Options) keepRoots(ctx context.Context) error {
	if o.Roots == nil {
		return nil
	}
	wake := make(chan struct{}, 1)
	tell := func() {
		select {
		case wake <- struct{}{}:
		default: // somebody has told already
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(_, _ any) { tell() }, DeleteFunc: func(any) { tell() },
	}
	all := informers.NewSharedInformerFactory(o.Client, 0)
	mine := informers.NewSharedInformerFactoryWithOptions(o.Client, 0, informers.WithTweakListOptions(func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermEqualSelector("metadata.name", RootsConfigMap).String()
	}))
	namespaces, maps := all.Core().V1().Namespaces(), mine.Core().V1().ConfigMaps()
	for _, i := range []cache.SharedIndexInformer{namespaces.Informer(), maps.Informer()} {
		if _, err := i.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watch namespaces: %w", err)
		}
	}
	all.Start(ctx.Done())
	mine.Start(ctx.Done())
	defer all.Shutdown()
	defer mine.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), namespaces.Informer().HasSynced, maps.Informer().HasSynced) {
		return nil
	}
	k := rootsKeeper{o, flowcontrol.NewTokenBucketRateLimiter(perSecond, burst)}
	tick := time.NewTicker(o.Terms.Look) // the roots may change
	defer tick.Stop()
	told := ""
	for {
		list, err := namespaces.Lister().List(labels.Everything())
		if err == nil {
			err = k.pass(ctx, list, func(ns string) *corev1.ConfigMap {
				have, err := maps.Lister().ConfigMaps(ns).Get(RootsConfigMap)
				if err != nil {
					return nil
				}
				return have
			})
		}
		if err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			o.Log.Warn("cannot write the root certificate, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-tick.C:
		}
	}
}

type rootsKeeper struct {
	Options
	limit flowcontrol.RateLimiter
}

// pass writes the ConfigMaps that are missing or say something else. The first error is returned, and the rest tried all the same.
func (k rootsKeeper) pass(ctx context.Context, namespaces []*corev1.Namespace, have func(namespace string) *corev1.ConfigMap) (first error) {
	roots := k.Roots()
	if roots == "" {
		return nil
	}
	for _, ns := range namespaces {
		if ns.Status.Phase == corev1.NamespaceTerminating || slices.Contains(systems(), ns.Name) {
			continue
		}
		m := have(ns.Name)
		if m != nil && m.Data[RootsKey] == roots {
			continue
		}
		if err := k.limit.Wait(ctx); err != nil {
			return err
		}
		if err := k.write(ctx, ns.Name, m, roots); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (k rootsKeeper) write(ctx context.Context, namespace string, have *corev1.ConfigMap, roots string) error {
	api := k.Client.CoreV1().ConfigMaps(namespace)
	var err error
	if have == nil {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: RootsConfigMap, Labels: map[string]string{rootsLabel: "true"}}, Data: map[string]string{RootsKey: roots}}
		_, err = api.Create(ctx, m, metav1.CreateOptions{})
	} else {
		m := have.DeepCopy()
		if m.Data == nil {
			m.Data = map[string]string{}
		}
		m.Data[RootsKey] = roots
		_, err = api.Update(ctx, m, metav1.UpdateOptions{})
	}
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err): // the informer will tell of it
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("write ConfigMap %s/%s: %w", namespace, RootsConfigMap, err)
	}
	return nil
}
