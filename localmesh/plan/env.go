package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Place is where a workload has been put.
type Place struct {
	PodIP       string // the sidecar's address
	Application string // the application's
	Proxy       string // URL of the sidecar as HTTP proxy; "" without a sidecar, or where connections are intercepted
	Identity    bool   // the sidecar has a certificate
}

// Env is the environment of a workload's own program: base, then Kubernetes' service variables, then what the manifest
// gives its first container, then what the mesh needs it to see.
func (w *Workload) Env(base []string, at Place) []string {
	vars := map[string]string{}
	for _, kv := range base {
		k, v, _ := strings.Cut(kv, "=")
		// Whatever proxy this shell uses, the workload's own is its sidecar.
		switch strings.ToLower(k) {
		case "http_proxy", "https_proxy", "no_proxy", "all_proxy":
			continue
		}
		vars[k] = v
	}
	maps.Copy(vars, w.Services)
	if len(w.Spec.Containers) > 0 {
		for _, e := range w.Spec.Containers[0].Env {
			if v, ok := w.value(e, at); ok {
				vars[e.Name] = v
			}
		}
	}
	maps.Copy(vars, map[string]string{
		"POD_NAME": w.Name, "POD_NAMESPACE": w.Namespace, "POD_IP": at.PodIP,
		"HOSTNAME": w.Name, "MIZZEN_BIND": at.Application,
	})
	if at.Proxy != "" {
		vars["NO_PROXY"], vars["no_proxy"] = "", ""
		vars["HTTP_PROXY"], vars["http_proxy"] = at.Proxy, at.Proxy
	}
	if p, ok := w.FirstPort(); ok {
		vars["PORT"] = fmt.Sprint(p)
	}
	out := make([]string, 0, len(vars))
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, k+"="+vars[k])
	}
	return out
}

// FirstPort is the first that the manifest names, not the lowest.
func (w *Workload) FirstPort() (uint32, bool) {
	for _, c := range w.Spec.Containers {
		if len(c.Ports) > 0 {
			return uint32(c.Ports[0].ContainerPort), true
		}
	}
	if len(w.Ports) > 0 {
		return w.Ports[0].Number, true
	}
	return 0, false
}

// value resolves a container's variable; ok is false for what a local mesh does not have (secrets, resources).
func (w *Workload) value(e corev1.EnvVar, at Place) (string, bool) {
	if e.ValueFrom == nil {
		return e.Value, true
	}
	if e.ValueFrom.FieldRef == nil {
		return "", false
	}
	path := e.ValueFrom.FieldRef.FieldPath
	switch path {
	case "metadata.name":
		return w.Name, true
	case "metadata.namespace":
		return w.Namespace, true
	case "status.podIP", "status.hostIP":
		return at.PodIP, true
	case "spec.serviceAccountName":
		return w.ServiceAccount(), true
	}
	if key, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return w.Labels[strings.TrimSuffix(key, "']")], true
	}
	if key, ok := strings.CutPrefix(path, "metadata.annotations['"); ok {
		return w.Annotations[strings.TrimSuffix(key, "']")], true
	}
	return "", false
}

// ServiceAccount of the pod.
func (w *Workload) ServiceAccount() string { return cmp.Or(w.Spec.ServiceAccountName, "default") }
