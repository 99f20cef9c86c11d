package corpus

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Objects are the workloads of a stream of manifests, Lists taken apart.
func Objects(t testing.TB, stream []byte) []map[string]any {
	t.Helper()
	var out []map[string]any
	add := func(x any) {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	for _, text := range strings.Split("\n"+string(stream), "\n---") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			continue // what is behind a separator
		}
		if items, ok := o["items"].([]any); ok {
			for _, x := range items {
				add(x)
			}
			continue
		}
		add(o)
	}
	return out
}

func child(o map[string]any, path ...string) map[string]any {
	for _, k := range path {
		o, _ = o[k].(map[string]any)
	}
	return o
}

// Pod is the pod that Kubernetes' controllers make of a workload: its template, with a name that is generated, and an owner. Nil: it is
// no workload.
func Pod(o map[string]any) map[string]any {
	kind, _ := o["kind"].(string)
	template := child(o, "spec", "template")
	switch {
	case kind == "Pod":
		return o
	case kind == "CronJob":
		template = child(o, "spec", "jobTemplate", "spec", "template")
	}
	if template == nil {
		return nil
	}
	name, _ := child(o, "metadata")["name"].(string)
	version, _ := o["apiVersion"].(string)
	raw, _ := json.Marshal(template)
	var pod map[string]any
	_ = json.Unmarshal(raw, &pod)
	meta, _ := pod["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		pod["metadata"] = meta
	}
	labels, _ := meta["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		meta["labels"] = labels
	}
	switch kind {
	case "Deployment":
		labels["pod-template-hash"] = "abc12"
		kind, name = "ReplicaSet", name+"-abc12"
	case "Rollout":
		labels["rollouts-pod-template-hash"] = "abc12"
		version, kind, name = "apps/v1", "ReplicaSet", name+"-abc12"
	case "DeploymentConfig":
		labels["deploymentconfig"] = name
		version, kind, name = "v1", "ReplicationController", name+"-1"
	case "CronJob":
		kind, name = "Job", name+"-29384756"
	}
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	if meta["namespace"] = child(o, "metadata")["namespace"]; meta["namespace"] == nil {
		meta["namespace"] = "default"
	}
	meta["generateName"] = name + "-"
	meta["ownerReferences"] = []any{map[string]any{"apiVersion": version, "kind": kind, "name": name, "uid": "1", "controller": true}}
	return pod
}
