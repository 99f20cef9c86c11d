package inject

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Owner is the workload that a pod is of: a Deployment, not its ReplicaSet.
type Owner struct{ APIVersion, Kind, Name string }

// cronRun is the name of a Job that a CronJob made, in minutes or seconds since 1970.
var cronRun = regexp.MustCompile(`^(.+)-\d{8,10}$`)

// ownerOf finds a pod's workload by its owner references, as Istio does: what made the object that made the pod is told by the names
// and labels that Kubernetes' controllers give. A pod without a controller is its own.
func ownerOf(pod *corev1.Pod) Owner {
	own := Owner{"v1", "Pod", pod.Name}
	if pod.GenerateName == "" {
		return own
	}
	for _, ref := range pod.OwnerReferences {
		if ref.Controller != nil && *ref.Controller {
			return maker(Owner{ref.APIVersion, ref.Kind, ref.Name}, pod.Labels)
		}
	}
	return own
}

// maker is what made the object o, if that can be told; else o.
func maker(o Owner, labels map[string]string) Owner {
	switch o.Kind {
	case "ReplicaSet":
		if name, ok := cutHash(o.Name, labels["pod-template-hash"]); ok {
			return Owner{o.APIVersion, "Deployment", name}
		}
		if name, ok := cutHash(o.Name, labels["rollouts-pod-template-hash"]); ok {
			return Owner{"argoproj.io/v1alpha1", "Rollout", name}
		}
	case "ReplicationController":
		if name := labels["deploymentconfig"]; name != "" {
			return Owner{"apps.openshift.io/v1", "DeploymentConfig", name}
		}
	case "Job":
		if m := cronRun.FindStringSubmatch(o.Name); m != nil {
			return Owner{"batch/v1", "CronJob", m[1]}
		}
	}
	return o
}

func cutHash(name, hash string) (string, bool) {
	if hash == "" {
		return "", false
	}
	return strings.CutSuffix(name, "-"+hash)
}

// metadata is ISTIO_META_OWNER.
func (o Owner) metadata(namespace string) string {
	if namespace == "" {
		namespace = "default"
	}
	return "kubernetes://apis/" + o.APIVersion + "/namespaces/" + namespace + "/" + strings.ToLower(o.Kind) + "s/" + o.Name
}
