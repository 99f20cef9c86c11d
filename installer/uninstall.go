package installer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mizzen-mesh/mizzen/charts"
)

// Uninstall takes an installation away. What users wrote (objects of Istio's kinds) and the mesh's certificate authority stay, unless
// purge: then they go too, and with them the kinds, the root certificates in every namespace, and the namespace, if Install made it.
func Uninstall(ctx context.Context, o Options, purge bool) error {
	i, err := open(o)
	if err != nil {
		return err
	}
	name := Release(i.Revision)
	there, err := i.installed(name)
	if err != nil {
		return err
	}
	others, err := i.others(name)
	if err != nil {
		return err
	}
	var was []workload
	switch {
	case purge && len(others) > 0:
		return fmt.Errorf("purge: %s is still installed; uninstall it first", strings.Join(others, ", "))
	case there:
		r, err := action.NewUninstall(i.helm).Run(name)
		if err != nil {
			return fmt.Errorf("uninstall release %s: %w", name, err)
		}
		if was, err = workloads(r.Release.Manifest); err != nil {
			return err
		}
		i.say("release %s uninstalled", name)
	case !purge:
		return fmt.Errorf("uninstall: there is no release %s in namespace %s", name, i.Namespace)
	}
	if err := i.gone(ctx, was); err != nil {
		return err
	}
	if err := i.own(ctx); err != nil {
		return err
	}
	i.sidecars(ctx)
	if purge {
		return i.purge(ctx)
	}
	if len(others) == 0 {
		i.say("objects of Istio's kinds and the certificate authority stay for the next installation; mizzen uninstall --purge deletes them")
	}
	return nil
}

// sidecars tells of pods that still have one of the revision's; nothing, if the user may not list pods.
func (i *installer) sidecars(ctx context.Context) {
	pods, err := i.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	count := map[string]int{}
	for _, p := range pods.Items {
		var status struct{ Revision string }
		text := p.Annotations["sidecar.istio.io/status"]
		if p.DeletionTimestamp == nil && json.Unmarshal([]byte(text), &status) == nil && status.Revision == revisionLabel(i.Revision) {
			count[p.Namespace]++
		}
	}
	for _, ns := range slices.Sorted(maps.Keys(count)) {
		i.say("%d pods of namespace %s keep their sidecar until they are made anew", count[ns], ns)
	}
}

// others are Mizzen's releases besides name.
func (i *installer) others(name string) ([]string, error) {
	all, err := action.NewList(i.helm).Run()
	if err != nil {
		return nil, fmt.Errorf("read Helm's releases: %w", err)
	}
	var out []string
	for _, r := range all {
		if r.Chart != nil && r.Chart.Name() == "mizzen" && r.Name != name {
			out = append(out, r.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// gone waits until the servers have ended, which else would write again what is about to be deleted, and the nodes are as before.
func (i *installer) gone(ctx context.Context, was []workload) error {
	namespaces := []string{i.Namespace}
	for _, w := range was {
		namespaces = append(namespaces, w.namespace)
	}
	slices.Sort(namespaces)
	namespaces = slices.Compact(namespaces)
	selector := "app.kubernetes.io/part-of=mizzen,istio.io/rev=" + revisionLabel(i.Revision)
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		for _, ns := range namespaces {
			pods, err := i.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: selector})
			if err != nil || len(pods.Items) > 0 {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait until the servers have ended: %w", err)
	}
	return nil
}

func revisionLabel(revision string) string {
	if suffix(revision) == "" {
		return "default"
	}
	return revision
}

// own deletes what the servers of the revision made for themselves.
func (i *installer) own(ctx context.Context) error {
	s := suffix(i.Revision)
	return ignoreMissing(
		i.client.CoreV1().Secrets(i.Namespace).Delete(ctx, "mizzen-webhook-ca"+s, metav1.DeleteOptions{}),
		i.client.CoreV1().ConfigMaps(i.Namespace).Delete(ctx, "mizzen-controlplane-notes"+s, metav1.DeleteOptions{}),
		i.client.CoordinationV1().Leases(i.Namespace).Delete(ctx, "mizzen-controlplane-leader"+s, metav1.DeleteOptions{}),
	)
}

func ignoreMissing(errs ...error) error {
	return errors.Join(slices.DeleteFunc(errs, apierrors.IsNotFound)...)
}

func (i *installer) purge(ctx context.Context) error {
	c, err := charts.Mizzen()
	if err != nil {
		return err
	}
	kinds, err := definitionsOf(c)
	if err != nil {
		return err
	}
	for _, u := range kinds {
		if err := ignoreMissing(i.dynamic.Resource(definitions).Delete(ctx, u.GetName(), metav1.DeleteOptions{})); err != nil {
			return fmt.Errorf("delete CustomResourceDefinition %s: %w", u.GetName(), err)
		}
	}
	for _, u := range kinds { // their objects go first
		err := absent(ctx, func(ctx context.Context) error {
			_, err := i.dynamic.Resource(definitions).Get(ctx, u.GetName(), metav1.GetOptions{})
			return err
		})
		if err != nil {
			return fmt.Errorf("wait until %s is gone: %w", u.GetName(), err)
		}
	}
	i.say("%d CustomResourceDefinitions deleted, and every object of them", len(kinds))
	roots, err := i.client.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=istio-ca-root-cert"})
	if err != nil {
		return fmt.Errorf("list root certificates: %w", err)
	}
	for _, m := range roots.Items {
		if err := ignoreMissing(i.client.CoreV1().ConfigMaps(m.Namespace).Delete(ctx, m.Name, metav1.DeleteOptions{})); err != nil {
			return fmt.Errorf("delete ConfigMap %s/%s: %w", m.Namespace, m.Name, err)
		}
	}
	if err := ignoreMissing(i.client.CoreV1().Secrets(i.Namespace).Delete(ctx, "mizzen-ca-secret", metav1.DeleteOptions{})); err != nil {
		return fmt.Errorf("delete the certificate authority: %w", err)
	}
	i.say("certificate authority and %d root certificates deleted", len(roots.Items))
	ns, err := i.client.CoreV1().Namespaces().Get(ctx, i.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && ns.Labels[createdLabel] != "true" {
		return nil
	}
	if err == nil {
		err = i.client.CoreV1().Namespaces().Delete(ctx, i.Namespace, metav1.DeleteOptions{})
	}
	if err := ignoreMissing(err); err != nil {
		return fmt.Errorf("delete namespace %s: %w", i.Namespace, err)
	}
	err = absent(ctx, func(ctx context.Context) error {
		_, err := i.client.CoreV1().Namespaces().Get(ctx, i.Namespace, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("wait until namespace %s is gone: kubectl describe namespace %[1]s says what holds it: %w", i.Namespace, err)
	}
	i.say("namespace %s deleted", i.Namespace)
	return nil
}

// absent waits, for two minutes, until get finds nothing.
func absent(ctx context.Context, get func(context.Context) error) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		err := get(ctx)
		return apierrors.IsNotFound(err), ignoreMissing(err)
	})
}
