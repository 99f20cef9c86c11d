package installer

import (
	"cmp"
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// waitingNodes says what a DaemonSet still lacks.
func (i *installer) waitingNodes(ctx context.Context, w workload) delay {
	d, err := i.client.AppsV1().DaemonSets(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
	if err != nil {
		return delay{why: err.Error()}
	}
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return delay{why: "its controller has not seen it yet"}
	case s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled:
		return delay{}
	}
	return cmp.Or(i.pods(ctx, w.namespace, d.Spec.Selector), i.refused(ctx, w),
		delay{why: fmt.Sprintf("%d of %d nodes have it", min(s.NumberAvailable, s.UpdatedNumberScheduled), s.DesiredNumberScheduled)})
}

// refused says why a DaemonSet's pods are not made, which its status does not.
func (i *installer) refused(ctx context.Context, w workload) delay {
	list, err := i.client.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate,involvedObject.name=" + w.name})
	if err != nil || len(list.Items) == 0 {
		return delay{}
	}
	return delay{why: list.Items[len(list.Items)-1].Message, stuck: true}
}
