package installer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// workload is a Deployment or a DaemonSet of the release.
type workload struct{ kind, namespace, name string }

func (w workload) String() string { return strings.ToLower(w.kind) + " " + w.name }

// patience is how long a workload may wait before it is said what for; what cannot mend itself is said at once.
const patience = 30 * time.Second

// await waits until every Deployment and DaemonSet of the release is available, as `kubectl rollout status` does, and says so of each, and what holds
// up those that are not.
func (i *installer) await(ctx context.Context, r *release.Release) error {
	missing, err := workloads(r.Manifest)
	if err != nil {
		return err
	}
	start := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	late := time.After(i.Wait)
	why, told := map[workload]delay{}, map[string]bool{}
	for {
		missing = slices.DeleteFunc(missing, func(w workload) bool {
			d := i.waiting(ctx, w)
			why[w] = d
			switch {
			case d.why == "":
				i.say("%s is available (%.0f s)", w, time.Since(start).Seconds())
			case d.stuck && !told[d.why], !d.stuck && !told[w.String()] && time.Since(start) > patience:
				told[w.String()], told[d.why] = true, true
				i.say("%s waits: %s", w, d.why)
			}
			return d.why == ""
		})
		if len(missing) == 0 {
			return nil
		}
		if !slices.ContainsFunc(missing, func(w workload) bool { return w.name == "mizzen-injector"+suffix(i.Revision) }) {
			if err := i.again(ctx, missing); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the installation: %w", ctx.Err())
		case <-late:
			var b strings.Builder
			for _, w := range missing {
				fmt.Fprintf(&b, "\n  %s: %s", w, why[w].why)
			}
			return fmt.Errorf("wait for the installation: not complete after %s%s", i.Wait, b.String())
		case <-tick.C:
		}
	}
}

// workloads are those of a manifest.
func workloads(manifest string) ([]workload, error) {
	var out []workload
	for _, text := range releaseutil.SplitManifests(manifest) {
		var o metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			return nil, fmt.Errorf("read the release's manifest: %w", err)
		}
		if o.Kind == "Deployment" || o.Kind == "DaemonSet" {
			out = append(out, workload{o.Kind, o.Namespace, o.Name})
		}
	}
	slices.SortFunc(out, func(a, b workload) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// delay is what a workload lacks.
type delay struct {
	why   string // in a few words; "": nothing
	stuck bool   // it will hardly mend itself
}

// waiting says what a workload still lacks.
func (i *installer) waiting(ctx context.Context, w workload) delay {
	if w.kind == "DaemonSet" {
		return i.waitingNodes(ctx, w)
	}
	d, err := i.client.AppsV1().Deployments(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
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
	if d := cmp.Or(i.pods(ctx, w.namespace, d.Spec.Selector), unmade(d)); d.why != "" {
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

// pods says what a workload's pods wait for, as far as the cluster tells.
func (i *installer) pods(ctx context.Context, namespace string, selector *metav1.LabelSelector) delay {
	list, err := i.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
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
	return delay{}
}

// unmade says why a Deployment's pods are not even made.
func unmade(d *appsv1.Deployment) delay {
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

// again brings pods of gateways that were refused because the injector could not be called yet. They would be tried again after ever
// longer times: their ReplicaSets are touched. Those that were made before its webhook was there the injector deletes.
func (i *installer) again(ctx context.Context, missing []workload) error {
	for _, w := range missing {
		sets, err := i.client.AppsV1().ReplicaSets(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + w.name})
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
