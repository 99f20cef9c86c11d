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

// patience is how long a Deployment may wait before it is said what for; what cannot mend itself is said at once.
const patience = 30 * time.Second

// await waits until every Deployment of the release is available, as `kubectl rollout status` does, and says so of each, and what holds
// up those that are not.
func (i *installer) await(ctx context.Context, r *release.Release) error {
	missing, err := deployments(r.Manifest)
	if err != nil {
		return err
	}
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	late := time.After(i.Wait)
	why, told := map[string]delay{}, map[string]bool{}
	for {
		missing = slices.DeleteFunc(missing, func(name string) bool {
			d := i.waiting(ctx, name)
			why[name] = d
			switch {
			case d.why == "":
				i.say("deployment %s is available (%.0f s)", name, time.Since(start).Seconds())
			case d.stuck && !told[d.why], !d.stuck && !told[name] && time.Since(start) > patience:
				told[name], told[d.why] = true, true
				i.say("deployment %s waits: %s", name, d.why)
			}
			return d.why == ""
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
				fmt.Fprintf(&b, "\n  deployment %s: %s", name, why[name].why)
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

// delay is what a Deployment lacks.
type delay struct {
	why   string // in a few words; "": nothing
	stuck bool   // it will hardly mend itself
}

// waiting says what a Deployment still lacks.
func (i *installer) waiting(ctx context.Context, name string) delay {
	d, err := i.client.AppsV1().Deployments(i.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return delay{why: err.Error()}
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return delay{why: "its controller has not seen it yet"}
	case s.UpdatedReplicas >= want && s.Replicas == s.UpdatedReplicas && s.AvailableReplicas >= want:
		return delay{}
	}
	if d := i.pods(ctx, d); d.why != "" {
		return d
	}
	switch {
	case s.UpdatedReplicas < want:
		return delay{why: fmt.Sprintf("%d of %d pods made", s.UpdatedReplicas, want)}
	case s.AvailableReplicas < s.Replicas || s.AvailableReplicas < want:
		return delay{why: fmt.Sprintf("%d of %d pods available", s.AvailableReplicas, s.Replicas)}
	}
	return delay{why: fmt.Sprintf("%d old pods run still", s.Replicas-s.UpdatedReplicas)}
}

// pods says what a Deployment's pods wait for, as far as the cluster tells.
func (i *installer) pods(ctx context.Context, d *appsv1.Deployment) delay {
	list, err := i.client.CoreV1().Pods(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return delay{}
	}
	for _, p := range list.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return delay{why: "no node takes a pod: " + c.Message}
			}
		}
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if w := c.State.Waiting; w != nil && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
				return stopped(c, w)
			}
		}
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			if strings.Contains(c.Message, "sidecar-injector.mizzen.dev") { // a gateway's is tried again once it does: see again
				return delay{why: "the injector does not serve yet"}
			}
			return delay{why: c.Message}
		}
	}
	return delay{}
}

// stopped says why a container does not run.
func stopped(c corev1.ContainerStatus, w *corev1.ContainerStateWaiting) delay {
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
		if c.Image == "auto" { // a gateway's, made before the injector: it is made anew
			return delay{why: "its pod was made before the injector served"}
		}
		return delay{why: fmt.Sprintf("image %s cannot be had; --set global.hub=REGISTRY/PATH,global.tag=TAG says where images are", c.Image), stuck: true}
	}
	return delay{why: fmt.Sprintf("container %s: %s %s", c.Name, w.Reason, w.Message)}
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
