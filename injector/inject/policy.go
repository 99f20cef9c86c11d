package inject

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/wrapperspb"
	meshconfig "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
)

// Policy is all that decides about injection besides the pod. It is never changed: a new one takes its place.
type Policy struct {
	Config Config
	Values Values
	// Mesh is the MeshConfig; nil: Istio's defaults.
	Mesh *meshconfig.MeshConfig
	// ProxyConfigs are the objects of kind ProxyConfig of all namespaces.
	ProxyConfigs []effective.Resource
	// NativeSidecars says that every node runs init containers with restartPolicy Always.
	NativeSidecars bool

	values    map[string]any // as templates see them
	templates templates
}

// New reads the two keys of ConfigMap istio-sidecar-injector; empty texts are the chart's defaults.
func New(config, values []byte) (*Policy, error) {
	c, err := ParseConfig(config)
	if err != nil {
		return nil, err
	}
	v, all, err := ParseValues(values)
	if err != nil {
		return nil, err
	}
	t, err := parseTemplates(c.Templates)
	if err != nil {
		return nil, err
	}
	return &Policy{Config: c, Values: v, values: all, templates: t}, nil
}

// With returns the policy with other settings of the mesh and facts of the cluster.
func (p *Policy) With(mesh *meshconfig.MeshConfig, all []effective.Resource, nativeSidecars bool) *Policy {
	out := *p
	out.Mesh, out.ProxyConfigs, out.NativeSidecars = mesh, all, nativeSidecars
	return &out
}

// Request asks for one pod.
type Request struct {
	// Pod is left as it is. Its namespace is set, whatever it came from; its name may be empty.
	Pod *corev1.Pod
	// Owner is the workload of a pod template; zero: what the pod's owner references say.
	Owner Owner
	// NamespaceLabels are those of the pod's namespace. They choose the namespace and the revision, unless Chosen.
	NamespaceLabels map[string]string
	// Chosen: who asks has chosen the namespace already, as the API server does by a webhook's selectors.
	Chosen bool
	// Env are variables of the proxy that a webhook's path asks for (/inject/cluster/NAME/net/NAME).
	Env map[string]string
}

// Result is what becomes of a pod.
type Result struct {
	// Pod is the injected one, which shares nothing with the one asked for; nil: it is left alone.
	Pod *corev1.Pod
	// Why it is left alone, in a few words; "" if it is not.
	Why string
	// Warnings are for whoever applied the pod.
	Warnings []string
}

// Inject puts the proxy into a pod. An error is a mistake in the pod or in the policy: such a pod must not run without its proxy.
func (p *Policy) Inject(r Request) (Result, error) {
	d := p.decide(r)
	if d.why != "" {
		return Result{Why: d.why, Warnings: append(d.warnings, misread(r.Pod)...)}, nil
	}
	b, err := p.begin(r)
	if err != nil {
		return Result{}, err
	}
	b.warnings = append(d.warnings, b.warnings...)
	if err := b.templates(); err != nil {
		return Result{}, err
	}
	b.users()
	if err := b.finish(); err != nil {
		return Result{}, err
	}
	return Result{Pod: b.pod, Warnings: slices.Clip(b.warnings)}, nil
}

// misread tells of a pod that waits for the injector in vain.
func misread(pod *corev1.Pod) []string {
	for _, c := range pod.Spec.Containers {
		if c.Name == ProxyContainer && c.Image == autoImage {
			return []string{fmt.Sprintf("container %s has image %q, which only the injector replaces", c.Name, c.Image)}
		}
	}
	return nil
}

// settings are the effective ones of a pod's proxy.
func (p *Policy) settings(pod *corev1.Pod) (*meshconfig.ProxyConfig, error) {
	root := p.Mesh.GetRootNamespace()
	if root == "" {
		root = p.Values.Global.IstioNamespace
	}
	c, err := effective.ProxyConfig(p.Mesh.GetDefaultConfig(), root, p.ProxyConfigs, effective.Pod{
		Namespace: pod.Namespace, Labels: pod.Labels, Annotations: pod.Annotations,
	})
	if err != nil {
		return nil, err
	}
	if a := pod.Annotations["sidecar.istio.io/discoveryAddress"]; a != "" {
		c.DiscoveryAddress = a
	}
	if c.DiscoveryAddress == "" {
		c.DiscoveryAddress = p.controlPlane()
	}
	if p.Values.Global.Proxy.HoldApplicationUntilProxyStarts {
		c.HoldApplicationUntilProxyStarts = wrapperspb.Bool(true)
	}
	return c, nil
}

// controlPlane is where proxies find theirs.
func (p *Policy) controlPlane() string {
	name := "mizzen-controlplane"
	if p.Values.Revision != "" {
		name += "-" + p.Values.Revision
	}
	return name + "." + p.Values.Global.IstioNamespace + ".svc:15012"
}

// trustDomain of the mesh.
func (p *Policy) trustDomain() string {
	if d := p.Mesh.GetTrustDomain(); d != "" {
		return d
	}
	return "cluster.local"
}
