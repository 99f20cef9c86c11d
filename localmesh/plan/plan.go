// Package plan reads out of the configuration what has to run on this machine: a workload per replica, a gateway per
// Gateway selector. It is pure: it opens nothing and starts nothing.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/localmesh/standin"
)

// Annotations on a pod template.
const (
	AnnotationExec    = "mizzen.dev/exec"    // command line run instead of the stand-in
	AnnotationCalls   = "mizzen.dev/calls"   // the stand-in's upstreams
	AnnotationForward = "mizzen.dev/forward" // further headers that the stand-in forwards, separated by commas
	AnnotationFilters = "mizzen.dev/filters" // what runs the policies in the sidecar: dynamic-module, wasm or native
	annotationInject  = "sidecar.istio.io/inject"
)

// Plan is what has to run.
type Plan struct {
	Workloads []*Workload // sorted by namespace, then name
	Gateways  []*Gateway  // the ingress gateway first, then by name
	Services  []Backends  // sorted by namespace, then name
}

// Workload is one replica.
type Workload struct {
	Name        string // of the pod: the owner's name and an ordinal, "reviews-v1-0"
	Namespace   string
	Owner       string // Deployment's (...) name; the pod's own if it has none
	OwnerKind   string // "" for a bare Pod
	Labels      map[string]string
	Annotations map[string]string
	Spec        corev1.PodSpec
	Ports       []Port // sorted by number
	Exec        string // "" for the stand-in
	Calls       []string
	Forward     []string
	Sidecar     bool              // false: sidecar.istio.io/inject is "false"
	Proxy       Proxy             // how its Envoy is started
	Services    map[string]string // Kubernetes' <NAME>_SERVICE_HOST and _PORT of the namespace's Services
}

// Port of a workload.
type Port struct {
	Number uint32
	Name   string // "" if unnamed
	TCP    bool   // not HTTP: the stand-in echoes bytes
}

// Key names the workload among all.
func (w *Workload) Key() string { return w.Namespace + "/" + w.Name }

// Service is label app, else the owner's name.
func (w *Workload) Service() string {
	return cmp.Or(w.Labels["app"], w.Labels["app.kubernetes.io/name"], w.Owner)
}

// Version is label version.
func (w *Workload) Version() string {
	return cmp.Or(w.Labels["version"], w.Labels["app.kubernetes.io/version"])
}

// PortNumbers are the numbers of Ports.
func (w *Workload) PortNumbers() []uint32 {
	out := make([]uint32, len(w.Ports))
	for i, p := range w.Ports {
		out[i] = p.Number
	}
	return out
}

// Of makes the plan. A workload with a mistake in an annotation runs without it, and a diagnostic says so.
func Of(set istio.Set) (Plan, istio.Diagnostics) {
	b := &builder{set: set, seen: map[string]bool{}}
	gateways := b.gateways()
	for _, o := range set.Workloads {
		if g := gatewayFor(gateways, o.Spec.Template.Labels); g != nil {
			g.adopt(o)
			continue
		}
		for i := range o.Spec.Replicas {
			b.add(&o.Meta, fmt.Sprintf("%s-%d", o.Name, i), o.Spec.Kind, o.Spec.Template.Labels, o.Spec.Template.Annotations, o.Spec.Template.Spec, "spec.template.metadata.annotations")
		}
	}
	for _, o := range set.Pods {
		if gatewayFor(gateways, o.Spec.Labels) != nil {
			continue
		}
		b.add(&o.Meta, o.Name, "", o.Spec.Labels, o.Spec.Annotations, o.Spec.Spec, "metadata.annotations")
	}
	slices.SortFunc(b.plan.Workloads, func(a, c *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, c.Namespace), cmp.Compare(a.Name, c.Name))
	})
	for _, g := range gateways {
		g.Proxy = b.proxy(effective.Pod{Namespace: g.Namespace, Labels: g.Labels, Annotations: g.Annotations})
	}
	b.plan.Gateways, b.plan.Services = gateways, b.backends()
	return b.plan, b.diags
}

type builder struct {
	set   istio.Set
	plan  Plan
	diags istio.Diagnostics
	seen  map[string]bool
}

func (b *builder) add(m *istio.Meta, name, kind string, labels, annotations map[string]string, spec corev1.PodSpec, path string) {
	w := &Workload{
		Name: name, Namespace: m.Namespace, Owner: m.Name, OwnerKind: kind, Labels: labels, Annotations: annotations, Spec: spec,
		Exec: annotations[AnnotationExec], Sidecar: annotations[annotationInject] != "false" && labels[annotationInject] != "false",
	}
	if b.seen[w.Key()] {
		b.warn(m, "metadata.name", "another object already makes a workload named "+name, "rename one of them")
		return
	}
	b.seen[w.Key()] = true
	calls, err := standin.ParseCalls(annotations[AnnotationCalls])
	if err != nil {
		b.warn(m, path, err.Error(), "")
	}
	w.Calls = calls
	for _, h := range strings.Split(annotations[AnnotationForward], ",") {
		if h = strings.TrimSpace(h); h != "" {
			w.Forward = append(w.Forward, h)
		}
	}
	switch f := annotations[AnnotationFilters]; mesh.FilterHost(f) {
	case "", mesh.HostModule, mesh.HostWasm, mesh.HostNative:
	default:
		b.warn(m, path, fmt.Sprintf("%s: %q is nothing that runs the policies: the sidecar does with Envoy's own filters", AnnotationFilters, f), "write dynamic-module, wasm or native")
	}
	w.Proxy = b.proxy(effective.Pod{Namespace: m.Namespace, Labels: labels, Annotations: annotations})
	w.Ports = b.ports(w)
	w.Services = b.services(m.Namespace)
	b.plan.Workloads = append(b.plan.Workloads, w)
}

func (b *builder) warn(m *istio.Meta, path, message, fix string) {
	b.diags = append(b.diags, istio.Diagnostic{
		Code: istio.CodeBadNote, Severity: istio.Warning, Object: m.Ref, Position: m.At(path), Path: path, Message: message, Fix: fix,
	})
}

// services are Kubernetes' environment variables. Without cluster IPs the name serves as host: the sidecar, which is the
// application's HTTP proxy, resolves it.
func (b *builder) services(namespace string) map[string]string {
	out := map[string]string{}
	for _, o := range b.set.Services {
		if o.Namespace != namespace || len(o.Spec.Spec.Ports) == 0 {
			continue
		}
		prefix := envName(o.Name) + "_SERVICE_"
		host := o.Spec.Spec.ClusterIP
		if host == "" || host == corev1.ClusterIPNone {
			host = o.Name
		}
		out[prefix+"HOST"] = host
		for i, p := range o.Spec.Spec.Ports {
			if i == 0 {
				out[prefix+"PORT"] = fmt.Sprint(p.Port)
			}
			if p.Name != "" {
				out[prefix+"PORT_"+envName(p.Name)] = fmt.Sprint(p.Port)
			}
		}
	}
	return out
}

func envName(s string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(s))
}
