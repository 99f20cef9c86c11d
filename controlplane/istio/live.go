package istio

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DecodeLive reads an object as an API server has it: its JSON, decoded. As Decode, but that there are no places: diagnostics name the
// object and the path in it.
func DecodeLive(object map[string]any) (Set, Diagnostics) {
	root := liveNode(object, 0)
	if root == nil {
		ref := Ref{Kind: fmt.Sprint(object["kind"])}
		return Set{}, Diagnostics{{Code: CodeTooLarge, Severity: Error, Object: ref, Message: "nested too deeply"}}
	}
	d := &decoder{kinds: allKinds()}
	d.document(root, true)
	for _, m := range d.set.Metas() {
		m.Places = nil // they told what the user wrote; that is all that they say of an object without a file
	}
	d.diags.Sort()
	return d.set, d.diags
}

// liveNode makes a tree of decoded JSON; nil if it is too deep.
func liveNode(v any, depth int) *node {
	if depth > maxDepth {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		n := &node{kind: mapNode}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			value := liveNode(v[k], depth+1)
			if value == nil {
				return nil
			}
			n.fields = append(n.fields, field{key: k, value: value})
		}
		return n
	case []any:
		n := &node{kind: listNode}
		for _, item := range v {
			value := liveNode(item, depth+1)
			if value == nil {
				return nil
			}
			n.items = append(n.items, value)
		}
		return n
	case string:
		return &node{kind: stringNode, text: v}
	case bool:
		return &node{kind: boolNode, text: strconv.FormatBool(v)}
	case int64:
		return &node{kind: numberNode, text: strconv.FormatInt(v, 10)}
	case float64:
		return &node{kind: numberNode, text: strconv.FormatFloat(v, 'g', -1, 64)}
	}
	return &node{kind: nullNode}
}

// LiveObject takes an object of a Kubernetes kind as client-go has it, which an API server has validated against its schema: a
// *corev1.Service, Pod, Namespace, Node or Secret, a *discoveryv1.EndpointSlice, or an *appsv1.Deployment, StatefulSet or DaemonSet. It becomes part of the Set and must not be changed
// any more. Without Places and Raw.
func LiveObject(object metav1.Object) (Set, Diagnostics) {
	var s Set
	var ds Diagnostics
	switch v := object.(type) {
	case *corev1.Service:
		ds = live("Service", v, &v.ObjectMeta, &s.Services, validateService)
	case *corev1.Pod:
		ds = live("Pod", v, &v.ObjectMeta, &s.Pods, validatePod)
	case *discoveryv1.EndpointSlice:
		ds = live("EndpointSlice", v, &v.ObjectMeta, &s.EndpointSlices, validateEndpointSlice)
	case *corev1.Namespace:
		ds = live("Namespace", v, &v.ObjectMeta, &s.Namespaces, nil)
	case *corev1.Node:
		ds = live("Node", v, &v.ObjectMeta, &s.Nodes, nil)
	case *corev1.Secret:
		ds = live("Secret", v, &v.ObjectMeta, &s.Secrets, nil)
	case *appsv1.Deployment:
		ds = liveTemplate("Deployment", v.Spec.Replicas, v.Spec.Template, &v.ObjectMeta, &s)
	case *appsv1.StatefulSet:
		ds = liveTemplate("StatefulSet", v.Spec.Replicas, v.Spec.Template, &v.ObjectMeta, &s)
	case *appsv1.DaemonSet:
		ds = liveTemplate("DaemonSet", nil, v.Spec.Template, &v.ObjectMeta, &s)
	}
	return s, ds
}

func liveTemplate(kind string, replicas *int32, t corev1.PodTemplateSpec, m *metav1.ObjectMeta, s *Set) Diagnostics {
	w := &WorkloadTemplate{Kind: kind, Replicas: 1, Template: t}
	if replicas != nil {
		w.Replicas = int(*replicas)
	}
	return live(kind, w, m, &s.Workloads, nil)
}

func live[T any](kind string, v T, m *metav1.ObjectMeta, list *[]*Object[T], validate func(*Object[T]) Diagnostics) Diagnostics {
	k, _ := FindKind(kind)
	o := &object{kind: k, meta: Meta{
		APIVersion: k.APIVersion(), Ref: Ref{Kind: kind, Namespace: m.Namespace, Name: m.Name},
		Labels: m.Labels, Annotations: m.Annotations, CreationTimestamp: m.CreationTimestamp.Time,
	}}
	if len(m.Annotations) > 0 {
		notes := &node{kind: mapNode}
		for _, name := range slices.Sorted(maps.Keys(m.Annotations)) {
			notes.fields = append(notes.fields, field{key: name, value: &node{kind: stringNode, text: m.Annotations[name]}})
		}
		o.allAnnotations(notes)
	}
	out := &Object[T]{Meta: o.meta, Spec: v}
	if validate != nil {
		o.diags = append(o.diags, validate(out)...)
	}
	if !o.broken() {
		*list = append(*list, out)
	}
	return o.diags
}

// LiveMeshConfig reads a MeshConfig's YAML, which is the entry "mesh" of a ConfigMap of a cluster. Places are lines of this text.
func LiveMeshConfig(config Ref, text string) (Set, Diagnostics) {
	return meshText(config, "data.mesh", text)
}
