package istio

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	extensions "istio.io/api/extensions/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// typed decodes the object into its list.
func (d *decoder) typed(o *object) {
	if o.meta.Annotations[AnnotationDeleted] == "true" {
		d.set.Others = append(d.set.Others, &o.meta)
		return
	}
	s := &d.set
	switch o.kind.use {
	case kept:
		if !d.meshConfig(o) && !o.broken() {
			s.Others = append(s.Others, &o.meta)
		}
		o.ingressClass()
		return
	case refused:
		severity := Warning
		if o.kind.Group == "security.istio.io" {
			severity = Error // what somebody relies on for protection must not be taken for in force
		}
		o.add(CodeUnsupported, severity, o.meta.Position, "", o.kind.Name+" is not in this version: it has no effect", "")
		return
	}
	o.version()
	if o.kind.use == obsolete {
		decodeLegacy(o, &s.Legacy)
		return
	}
	switch o.kind.Name {
	case "VirtualService":
		decodeProto(o, &networking.VirtualService{}, &s.VirtualServices, rewriteVirtualService, validateVirtualService)
	case "DestinationRule":
		decodeProto(o, &networking.DestinationRule{}, &s.DestinationRules, rewriteDestinationRule, validateDestinationRule)
	case "Gateway":
		decodeProto(o, &networking.Gateway{}, &s.Gateways, nil, validateGateway)
	case "ServiceEntry":
		decodeProto(o, &networking.ServiceEntry{}, &s.ServiceEntries, rewriteServiceEntry, validateServiceEntry)
	case "WorkloadEntry":
		decodeProto(o, &networking.WorkloadEntry{}, &s.WorkloadEntries, nil, validateWorkloadEntry)
	case "Sidecar":
		decodeProto(o, &networking.Sidecar{}, &s.Sidecars, nil, validateSidecar)
	case "ProxyConfig":
		decodeProto(o, &networkingv1beta1.ProxyConfig{}, &s.ProxyConfigs, nil, validateProxyConfig)
	case "PeerAuthentication":
		decodeProto(o, &security.PeerAuthentication{}, &s.PeerAuthentications, nil, validatePeerAuthentication)
	case "EnvoyFilter":
		decodeProto(o, &networking.EnvoyFilter{}, &s.EnvoyFilters, rewriteEnvoyFilter, validateEnvoyFilter)
	case "WasmPlugin":
		decodeProto(o, &extensions.WasmPlugin{}, &s.WasmPlugins, nil, validateWasmPlugin)
	case "TrafficExtension":
		decodeProto(o, &extensions.TrafficExtension{}, &s.TrafficExtensions, nil, validateTrafficExtension)
	case "Telemetry":
		decodeProto(o, &telemetry.Telemetry{}, &s.Telemetries, nil, validateTelemetry)
	case "AuthorizationPolicy":
		decodeProto(o, &security.AuthorizationPolicy{}, &s.AuthorizationPolicies, nil, validateAuthorizationPolicy)
	case "RequestAuthentication":
		decodeProto(o, &security.RequestAuthentication{}, &s.RequestAuthentications, nil, validateRequestAuthentication)
	case "RateLimit":
		decodeRateLimit(o, &s.RateLimits)
	case "Service":
		decodeGo[corev1.Service](o, &s.Services, validateService)
	case "Pod":
		decodeGo[corev1.Pod](o, &s.Pods, validatePod)
	case "Secret":
		decodeGo[corev1.Secret](o, &s.Secrets, nil)
	case "Endpoints":
		decodeGo[corev1.Endpoints](o, &s.Endpoints, validateEndpoints)
	case "EndpointSlice":
		decodeGo[discoveryv1.EndpointSlice](o, &s.EndpointSlices, validateEndpointSlice)
	case "WorkloadGroup":
		decodeProto(o, &networking.WorkloadGroup{}, &s.WorkloadGroups, nil, validateWorkloadGroup)
	case "Node":
		decodeGo[corev1.Node](o, &s.Nodes, nil)
	case "Namespace":
		decodeGo[corev1.Namespace](o, &s.Namespaces, nil)
	default:
		workloadTemplate(o, s)
	}
}

// workloadTemplate decodes what makes pods.
func workloadTemplate(o *object, s *Set) {
	switch o.kind.Name {
	case "Deployment":
		decodeWorkload(o, s, func(w *appsv1.Deployment) (*int32, corev1.PodTemplateSpec) { return w.Spec.Replicas, w.Spec.Template })
	case "StatefulSet":
		decodeWorkload(o, s, func(w *appsv1.StatefulSet) (*int32, corev1.PodTemplateSpec) { return w.Spec.Replicas, w.Spec.Template })
	case "ReplicaSet":
		decodeWorkload(o, s, func(w *appsv1.ReplicaSet) (*int32, corev1.PodTemplateSpec) { return w.Spec.Replicas, w.Spec.Template })
	case "DaemonSet":
		decodeWorkload(o, s, func(w *appsv1.DaemonSet) (*int32, corev1.PodTemplateSpec) { return nil, w.Spec.Template })
	}
}

// version warns of an apiVersion that is not served, if the object can be read all the same.
func (o *object) version() {
	version := o.meta.APIVersion[strings.LastIndex(o.meta.APIVersion, "/")+1:]
	if strings.HasPrefix(o.meta.APIVersion, "extensions/") {
		o.add(CodeDeprecated, Warning, o.place("apiVersion"), "apiVersion", o.meta.APIVersion+" is obsolete", "write "+o.kind.APIVersion())
		return
	}
	if !slices.Contains(o.kind.Versions, version) {
		o.add(CodeUnknownKind, Error, o.place("apiVersion"), "apiVersion", fmt.Sprintf("%s has no version %s", o.kind.Name, version), "write "+o.kind.APIVersion())
	}
}

func (o *object) place(key string) Position {
	if f := o.root.find(key); f != nil {
		return f.pos
	}
	return o.meta.Position
}

// topLevel refuses keys beside apiVersion, kind, metadata, spec and status; a field of the spec is told where it belongs.
func (o *object) topLevel(spec []string) {
	known := []string{"apiVersion", "kind", "metadata", "spec", "status"}
	for _, f := range o.root.fields {
		if slices.Contains(known, f.key) {
			continue
		}
		fix := ""
		if same(f.key, spec) != "" {
			fix = fmt.Sprintf("%q belongs under spec", f.key)
		} else if near := nearest.Of(f.key, known); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		o.fail(f.pos, f.key, fmt.Sprintf("unknown field %q in the document", f.key), fix)
	}
}

// decodeProto reads an Istio kind: rewrite what is obsolete, check against the schema, unmarshal, validate, support table.
func decodeProto[T proto.Message](o *object, spec T, list *[]*Object[T], rewrite func(*object, *node), validate func(*Object[T]) Diagnostics) {
	desc := spec.ProtoReflect().Descriptor()
	o.topLevel(names(desc))
	n := o.root.get("spec")
	if n == nil || n.kind == nullNode {
		n = &node{kind: mapNode, pos: o.meta.Position}
	}
	if n.kind == mapNode && rewrite != nil {
		rewrite(o, n)
	}
	c := &checker{ref: o.meta.Ref, unknown: Error}
	c.message(desc, n, "spec")
	o.diags = append(o.diags, c.diags...)
	o.places()
	if o.broken() {
		return
	}
	if err := (protojson.UnmarshalOptions{}).Unmarshal(n.json(), spec); err != nil {
		o.fail(n.pos, "spec", "cannot be read: "+strings.TrimPrefix(err.Error(), "proto: "), "")
		return
	}
	out := &Object[T]{Meta: o.meta, Spec: spec}
	o.support(o.kind.Name, desc, n, "spec")
	o.diags = append(o.diags, validate(out)...)
	if !o.broken() {
		*list = append(*list, out)
	}
}

// places fills Meta.Places from the tree as it now stands.
func (o *object) places() {
	o.meta.Places = map[string]Position{}
	places(o.root, "", o.meta.Places)
}

// decodeGo reads a Kubernetes kind whole. An unknown field is a Warning: those schemas grow with every release.
// validate, if not nil, says what of it proxies could not take.
func decodeGo[T any](o *object, list *[]*Object[*T], validate func(*Object[*T]) Diagnostics) {
	v := goObject[T](o)
	if v == nil {
		return
	}
	out := &Object[*T]{Meta: o.meta, Spec: v}
	if validate != nil {
		o.diags = append(o.diags, validate(out)...)
	}
	if !o.broken() {
		*list = append(*list, out)
	}
}

func goObject[T any](o *object) *T {
	m := o.root.get("metadata")
	if o.meta.Namespace != "" {
		m.set("namespace", m.pos, &node{kind: stringNode, pos: m.pos, text: o.meta.Namespace})
	}
	c := &checker{ref: o.meta.Ref, unknown: Warning}
	c.goType(reflect.TypeFor[T](), o.root, "")
	c.diags = slices.DeleteFunc(c.diags, func(d Diagnostic) bool { // metadata() has said these
		return strings.HasPrefix(d.Path, "metadata.") || strings.HasPrefix(d.Path, "metadata[")
	})
	o.diags = append(o.diags, c.diags...)
	o.places()
	v := new(T)
	if o.broken() || !o.unmarshal(o.root, v) {
		return nil
	}
	return v
}

func decodeWorkload[T any](o *object, s *Set, get func(*T) (*int32, corev1.PodTemplateSpec)) {
	v := goObject[T](o)
	if v == nil {
		return
	}
	replicas, template := get(v)
	w := &WorkloadTemplate{Kind: o.kind.Name, Replicas: 1, Template: template}
	if replicas != nil {
		w.Replicas = int(*replicas)
	}
	s.Workloads = append(s.Workloads, &Object[*WorkloadTemplate]{Meta: o.meta, Spec: w})
}

// ingressClass tells of an Ingress that Istio's gateway would have served.
func (o *object) ingressClass() {
	if o.kind.Name != "Ingress" {
		return
	}
	const annotation = "kubernetes.io/ingress.class"
	n := o.root.get("metadata", "annotations", annotation)
	path := join("metadata.annotations", annotation)
	if n.str() != "istio" {
		n, path = o.root.get("spec", "ingressClassName"), "spec.ingressClassName"
	}
	if n.str() == "istio" {
		o.add(CodeIgnored, Warning, n.pos, path, "an Ingress has no effect here, of class istio neither",
			"write a Gateway with selector {istio: ingressgateway} and a VirtualService with its paths")
	}
}
