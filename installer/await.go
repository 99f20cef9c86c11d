package installer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// await waits until every Deployment of the release is available, as `kubectl rollout status` does, and says so of each.
func (i *installer) await(ctx context.Context, r *release.Release) error {
	missing, err := deployments(r.Manifest)
	if err != nil {
		return err
	}
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	late := time.After(i.Wait)
	why := map[string]string{}
	for {
		missing = slices.DeleteFunc(missing, func(name string) bool {
			why[name] = i.waiting(ctx, name)
			if why[name] == "" {
				i.say("deployment %s is available (%.0f s)", name, time.Since(start).Seconds())
			}
			return why[name] == ""
		})
		if len(missing) == 0 {
			return nil
		}
		if !slices.Contains(missing, "mizzen-injector"+suffix(i.Revision)) {
			if err := i.again(ctx, missing); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the installation: %w", ctx.Err())
		case <-late:
			var b strings.Builder
			for _, name := range missing {
				fmt.Fprintf(&b, "\n  deployment %s: %s", name, why[name])
			}
			return fmt.Errorf("wait for the installation: not complete after %s%s", i.Wait, b.String())
		case <-tick.C:
		}
	}
}

// deployments names those of a manifest.
func deployments(manifest string) ([]string, error) {
	var out []string
	for _, text := range releaseutil.SplitManifests(manifest) {
		var o metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			return nil, fmt.Errorf("read the release's manifest: %w", err)
		}
		if o.Kind == "Deployment" {
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// waiting says in a few words what a Deployment still lacks; "": nothing.
func (i *installer) waiting(ctx context.Context, name string) string {
	d, err := i.client.AppsV1().Deployments(i.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return "not seen by its controller yet"
	case s.UpdatedReplicas < want || s.Replicas > s.UpdatedReplicas || s.AvailableReplicas < want:
		return fmt.Sprintf("%d of %d pods available%s", min(s.AvailableReplicas, s.UpdatedReplicas), want, i.pods(ctx, d))
	}
	return ""
}

// pods says what a Deployment's pods wait for, as far as the cluster tells.
func (i *installer) pods(ctx context.Context, d *appsv1.Deployment) string {
	list, err := i.client.CoreV1().Pods(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return ""
	}
	for _, p := range list.Items {
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if w := c.State.Waiting; w != nil && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
				return fmt.Sprintf("; pod %s, container %s: %s %s", p.Name, c.Name, w.Reason, w.Message)
			}
		}
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "; " + c.Message
		}
	}
	return ""
}

// triedAnnotation makes a ReplicaSet's controller look at it again.
const triedAnnotation = "mizzen.dev/tried"

// again brings pods of gateways that were asked for before the injector served. Those that were made before its webhook was there have
// the image "auto", which nobody replaces in a pod that stands: they are deleted, and made anew. Those that were refused because the
// webhook could not be called would be tried again after ever longer times: their ReplicaSets are touched.
func (i *installer) again(ctx context.Context, deployments []string) error {
	list, err := i.client.CoreV1().Pods(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "sidecar.istio.io/inject=true"})
	if err != nil {
		return fmt.Errorf("list the gateways' pods: %w", err)
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp != nil || !slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Image == "auto" }) {
			continue
		}
		err := i.client.CoreV1().Pods(i.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("replace pod %s, which was made before the injector: %w", p.Name, err)
		}
	}
	for _, name := range deployments {
		sets, err := i.client.AppsV1().ReplicaSets(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return fmt.Errorf("list the gateways' ReplicaSets: %w", err)
		}
		for _, s := range sets.Items {
			if !slices.ContainsFunc(s.Status.Conditions, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure }) {
				continue
			}
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, triedAnnotation, time.Now().Format(time.RFC3339Nano))
			_, err := i.client.AppsV1().ReplicaSets(i.Namespace).Patch(ctx, s.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil {
				return fmt.Errorf("touch ReplicaSet %s: %w", s.Name, err)
			}
		}
	}
	return nil
}
