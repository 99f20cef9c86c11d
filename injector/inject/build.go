package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/injector/handover"
)

// build is one pod on its way.
type build struct {
	policy  *Policy
	asked   Request
	pod     *corev1.Pod
	owner   Owner
	proxy   *meshconfig.ProxyConfig // effective
	mode    string                  // how connections are intercepted: REDIRECT or NONE
	status  int32                   // the agent's port; 0: nobody is to ask it
	native  bool                    // the proxy is an init container that stays
	filters mesh.FilterHost         // what runs the policies
	// resources of the proxy and of the init containers.
	resources corev1.ResourceRequirements
	// own are the containers that the user wrote under names of the injector's.
	own  []corev1.Container
	made handover.Status

	warnings []string
}

// begin settles what the annotations, the mesh's settings and the policy come to.
func (p *Policy) begin(r Request) (*build, error) {
	b := &build{policy: p, asked: r, pod: r.Pod.DeepCopy(), owner: r.Owner}
	delete(b.pod.Annotations, handover.StatusAnnotation) // without its containers it means nothing
	delete(b.pod.Annotations, handover.InterceptionAnnotation)
	if b.owner == (Owner{}) {
		b.owner = ownerOf(r.Pod)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	var err error
	if b.proxy, err = p.settings(b.pod); err != nil {
		return nil, err
	}
	b.mode = b.annotation("sidecar.istio.io/interceptionMode", b.proxy.GetInterceptionMode().String())
	if b.mode == "TPROXY" {
		b.mode = "REDIRECT"
		b.warn("interception mode TPROXY is not supported: with REDIRECT the application sees another address than its caller's")
	}
	b.filters = mesh.FilterHost(b.annotation(annotationFilters, p.Values.Mizzen.Filters))
	switch said := string(p.Values.Mizzen.NativeSidecars); said {
	case "auto":
		b.native = p.NativeSidecars
	default:
		b.native = said == "true"
	}
	if native, err := strconv.ParseBool(b.annotation("sidecar.istio.io/nativeSidecar", "")); err == nil {
		b.native = native
	}
	b.native = b.native && len(b.applications()) > 0 // a pod of init containers alone is none
	b.ports()
	b.resources, err = b.proxyResources()
	b.doubts()
	return b, err
}

// ports settles the agent's. What an annotation says the agent must know, too.
func (b *build) ports() {
	b.status = b.proxy.GetStatusPort()
	if p := b.policy.Values.Global.Proxy.StatusPort; b.status == 0 {
		b.status = p
	}
	if b.status == 0 {
		b.status = statusPort
	}
	if v, ok := b.pod.Annotations["status.sidecar.istio.io/port"]; ok {
		n, _ := strconv.ParseUint(v, 10, 16) // checked
		b.status = int32(n)
	}
	if b.proxy.StatusPort = b.status; b.status == statusPort {
		b.proxy.StatusPort = 0
	}
}

// annotation is a pod's, else what stands for it.
func (b *build) annotation(name, otherwise string) string {
	if v, ok := b.pod.Annotations[name]; ok {
		return v
	}
	return otherwise
}

func (b *build) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// doubts are about pods that will not run well.
func (b *build) doubts() {
	b.imageDoubts()
	spec := b.pod.Spec
	if spec.DNSPolicy != "" && spec.DNSPolicy != corev1.DNSClusterFirst && spec.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
		b.warn("dnsPolicy is %s: the proxy may not find %s", spec.DNSPolicy, b.proxy.DiscoveryAddress)
	}
	if grace, drain := spec.TerminationGracePeriodSeconds, b.proxy.GetTerminationDrainDuration(); grace != nil && drain != nil && drain.AsDuration().Seconds() >= float64(*grace) {
		b.warn("terminationGracePeriodSeconds is %d: the proxy is killed before it has drained for %s", *grace, drain.AsDuration())
	}
	level := b.asked.NamespaceLabels["pod-security.kubernetes.io/enforce"]
	if b.intercepted() && !b.policy.Values.Pilot.CNI.Enabled && (level == "restricted" || level == "baseline") {
		b.warn("namespace %s enforces pod security %s, which refuses %s: let the node intercept connections", b.pod.Namespace, level, InitContainer)
	}
}

// intercepted tells whether connections come to the proxy by themselves.
func (b *build) intercepted() bool { return b.mode != "NONE" }

// templates lays the pod's templates on it, one after the other.
func (b *build) templates() error {
	for _, name := range b.chosen() {
		var err error
		switch t, ok := b.policy.templates[name]; {
		case ok:
			err = b.custom(name, t)
		case name == "sidecar":
			b.aside()
			err = b.sidecar()
		case name == "gateway":
			b.aside()
			b.gateway()
		case name == "grpc-agent" || name == "grpc-simple":
			err = fmt.Errorf("read annotation %s: template %s is for gRPC programs without an Envoy, which Mizzen does not configure: take it away, and the pod gets a sidecar", annotationTemplates, name)
		default:
			known := append(b.policy.templates.names(), "gateway", "sidecar")
			slices.Sort(known)
			err = fmt.Errorf("read annotation %s: no template %q; there are %s", annotationTemplates, name, strings.Join(slices.Compact(known), ", "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// chosen are the names of the pod's templates.
func (b *build) chosen() []string {
	names := b.policy.Config.DefaultTemplates
	if len(names) == 0 {
		names = []string{"sidecar"}
	}
	if v, ok := b.pod.Annotations[annotationTemplates]; ok {
		names = strings.Split(v, ",")
	}
	var out []string
	for _, n := range names {
		n = strings.TrimSpace(n)
		if several, ok := b.policy.Config.Aliases[n]; ok {
			out = append(out, several...)
		} else {
			out = append(out, n)
		}
	}
	return out
}

// aside takes the user's own proxy out of the pod, wherever it stands, and his own init containers of the injector's names; what he wrote
// comes back over what the templates make. An application may have any other name.
func (b *build) aside() {
	take := func(list *[]corev1.Container, names ...string) {
		*list = slices.DeleteFunc(*list, func(c corev1.Container) bool {
			if !slices.Contains(names, c.Name) {
				return false
			}
			b.own = append(b.own, c)
			return true
		})
	}
	take(&b.pod.Spec.Containers, ProxyContainer)
	take(&b.pod.Spec.InitContainers, initNames()...)
}

// container adds one, or puts it in the place of one of the same name.
func (b *build) container(c corev1.Container, init bool) {
	list, names := &b.pod.Spec.Containers, &b.made.Containers
	if init {
		list, names = &b.pod.Spec.InitContainers, &b.made.InitContainers
	}
	*names = append(*names, c.Name)
	if old := find(*list, c.Name); old != nil {
		*old = c
		return
	}
	*list = append(*list, c)
}

// volume adds one. A volume of the user's under that name stays: so SPIRE and others give the proxy their sockets.
func (b *build) volume(v corev1.Volume) {
	if slices.ContainsFunc(b.pod.Spec.Volumes, func(x corev1.Volume) bool { return x.Name == v.Name }) {
		b.warn("volume %s is the pod's own: the proxy uses it in place of the injector's", v.Name)
		return
	}
	b.made.Volumes = append(b.made.Volumes, v.Name)
	b.pod.Spec.Volumes = append(b.pod.Spec.Volumes, v)
}

// applications are the names of the containers besides the proxy.
func (b *build) applications() []string {
	var out []string
	for _, c := range b.asked.Pod.Spec.Containers {
		if c.Name != ProxyContainer {
			out = append(out, c.Name)
		}
	}
	return out
}
