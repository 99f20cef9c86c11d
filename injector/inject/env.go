package inject

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	meshconfig "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// environment of the proxy: what its agent cannot know by itself. Names are Istio's.
func (b *build) environment() []corev1.EnvVar {
	v := b.policy.Values
	ca := v.Global.CAAddress
	if ca == "" {
		ca = b.policy.controlPlane()
	}
	cluster := v.Global.MultiCluster.ClusterName
	if cluster == "" {
		cluster = "Kubernetes"
	}
	out := []corev1.EnvVar{
		{Name: "CA_ADDR", Value: ca},
		field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace"), field("INSTANCE_IP", "status.podIP"),
		field("SERVICE_ACCOUNT", "spec.serviceAccountName"), field("HOST_IP", "status.hostIP"),
		limit("ISTIO_CPU_LIMIT", "limits.cpu"), limit("GOMEMLIMIT", "limits.memory"),
		{Name: "PROXY_CONFIG", Value: proxyJSON(b.proxy)},
		{Name: "ISTIO_META_POD_PORTS", Value: b.portsJSON()},
		{Name: "ISTIO_META_APP_CONTAINERS", Value: strings.Join(b.applications(), ",")},
		{Name: "ISTIO_META_CLUSTER_ID", Value: cluster},
		field("ISTIO_META_NODE_NAME", "spec.nodeName"),
		{Name: "ISTIO_META_INTERCEPTION_MODE", Value: b.mode},
		{Name: "ISTIO_META_MIZZEN_FILTERS", Value: string(b.filters)},
	}
	add := func(name, value string) {
		if value != "" {
			out = append(out, corev1.EnvVar{Name: name, Value: value})
		}
	}
	add("ISTIO_META_NETWORK", v.Global.Network)
	workload := b.pod.Labels[labelWorkload]
	if workload == "" {
		workload = b.owner.Name
	}
	add("ISTIO_META_WORKLOAD_NAME", workload)
	if b.owner.Name != "" {
		add("ISTIO_META_OWNER", b.owner.metadata(b.pod.Namespace))
	}
	if b.pod.Annotations["sidecar.istio.io/bootstrapOverride"] != "" {
		add("ISTIO_BOOTSTRAP_OVERRIDE", bootstrapDir+"/custom_bootstrap.json")
	}
	mesh := v.Global.MeshID
	if mesh == "" {
		mesh = b.policy.trustDomain()
	}
	add("ISTIO_META_MESH_ID", mesh)
	add("TRUST_DOMAIN", b.policy.trustDomain())
	return put(put(out, variables(b.proxy.GetProxyMetadata())), variables(b.asked.Env))
}

// put sets variables, in place if there is one of the name.
func put(into, from []corev1.EnvVar) []corev1.EnvVar {
	for _, e := range from {
		if i := slices.IndexFunc(into, func(x corev1.EnvVar) bool { return x.Name == e.Name }); i >= 0 {
			into[i] = e
		} else {
			into = append(into, e)
		}
	}
	return into
}

// variables of a map, sorted; what Kubernetes would refuse as a name is left out.
func variables(m map[string]string) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if nameable(name) {
			out = append(out, corev1.EnvVar{Name: name, Value: m[name]})
		}
	}
	return out
}

// nameable tells whether Kubernetes takes a name for a variable: letters, digits, "_", "-" and ".", none of the latter in front.
func nameable(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r != '-' && r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != ""
}

// field takes a variable from the pod's own description.
func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

// limit takes a variable from the container's own limits.
func limit(name, which string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: which, Divisor: resource.MustParse("1")},
	}}
}

// proxyJSON writes settings as the agent reads them. protojson varies its blanks, so they are taken out.
func proxyJSON(c *meshconfig.ProxyConfig) string {
	raw, err := protojson.Marshal(c)
	if err != nil {
		return "{}" // no message of this type fails
	}
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return "{}"
	}
	return out.String()
}

// portsJSON lists the ports of the pod's containers.
func (b *build) portsJSON() string {
	ports := []corev1.ContainerPort{}
	for _, c := range b.asked.Pod.Spec.Containers {
		ports = append(ports, c.Ports...)
	}
	raw, err := json.Marshal(ports)
	if err != nil {
		return "[]" // strings and numbers only
	}
	return string(raw)
}
