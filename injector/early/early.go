// Package early makes anew the pods of gateways that were made before the injector was asked about pods. Their container's image is
// "auto", which stands for the injector's, and which nobody replaces in a pod that stands: left alone, such a pod never starts.
package early

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// again is how long after API servers were told of the injector it is looked for pods: a server may not have heard at once. There is an
// end, so that a pod which the injector is never asked about is not made anew for ever.
var again = [...]time.Duration{0, 2 * time.Second, 10 * time.Second}

// Pods are those of one namespace.
type Pods struct {
	Client    kubernetes.Interface
	Namespace string
	Log       *slog.Logger // not nil
}

// Run looks for such pods, and deletes them, whenever API servers have been told of the injector, until ctx ends.
func (p Pods) Run(ctx context.Context, told <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-told:
		}
		began := time.Now()
		for _, after := range again {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Until(began.Add(after))):
			}
			if err := p.delete(ctx); err != nil && ctx.Err() == nil {
				p.Log.Warn("pods that were made before the injector served are not made anew", "why", err)
			}
		}
	}
}

func (p Pods) delete(ctx context.Context) error {
	api := p.Client.CoreV1().Pods(p.Namespace)
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: "sidecar.istio.io/inject=true"})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, pod := range list.Items {
		isAuto := func(c corev1.Container) bool { return c.Image == "auto" }
		if pod.DeletionTimestamp != nil || !slices.ContainsFunc(pod.Spec.Containers, isAuto) {
			continue
		}
		err := api.Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
		switch {
		case err == nil:
			p.Log.Info("pod deleted, so that its owner makes another: it was made before the injector served", "pod", pod.Name)
		case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err):
			return fmt.Errorf("delete pod %s: %w", pod.Name, err)
		}
	}
	return nil
}
