package corpus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Random makes pods. Most are such as users write; some have names and fields that the injector must get along with; some no API server
// takes.
type Random struct{ *rand.Rand }

// NewRandom is one whose pods follow from the seed.
func NewRandom(seed uint64) Random { return Random{rand.New(rand.NewPCG(seed, 20))} }

func (r Random) maybe(share float64) bool { return r.Float64() < share }

func pick[T any](r Random, from ...T) T { return from[r.IntN(len(from))] }

// some sets a pointer to one of the values with a probability.
func some[T any](r Random, share float64, from ...T) *T {
	if !r.maybe(share) {
		return nil
	}
	v := pick(r, from...)
	return &v
}

// Pod makes one, with a name of its own.
func (r Random) Pod() *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}
	p.Labels, p.Annotations = r.labels(), r.annotations()
	p.Name = fmt.Sprintf("%s%08x", pick(r, "a-", "a.b-", "a-name-so-long-that-a-label-has-no-room-for-it-all-and-it-is-cut-"), r.Uint32())
	if r.maybe(0.5) {
		p.GenerateName, p.Name = p.Name+"-", ""
		p.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: pick(r, "ReplicaSet", "StatefulSet", "Job", "Odd"), Name: pick(r, "a-1", "a.b-12345678", "x"), UID: "1", Controller: some(r, 0.9, true, false),
		}}
	}
	s := &p.Spec
	s.Volumes = r.volumes()
	for i := range 1 + r.IntN(3) {
		s.Containers = append(s.Containers, r.container(r.name(i, false), s.Volumes))
	}
	for i := range r.IntN(3) {
		c := r.container(r.name(i, true), s.Volumes)
		if c.RestartPolicy = some(r, 0.3, corev1.ContainerRestartPolicyAlways); c.RestartPolicy == nil {
			c.ReadinessProbe, c.LivenessProbe, c.StartupProbe, c.Lifecycle = nil, nil, nil, nil
		}
		s.InitContainers = append(s.InitContainers, c)
	}
	r.whole(s)
	r.rare(s)
	return p
}

// name of a container: now and then one of the injector's.
func (r Random) name(i int, init bool) string {
	if r.maybe(0.15) {
		return pick(r, "istio-proxy", "istio-init", "mizzen-module", "istio-proxy")
	}
	if init {
		return fmt.Sprintf("init-%d", i)
	}
	return fmt.Sprintf("app-%d", i)
}

// whole sets what concerns the pod as a whole.
func (r Random) whole(s *corev1.PodSpec) {
	s.HostNetwork = r.maybe(0.05)
	s.RestartPolicy = pick(r, "", corev1.RestartPolicyAlways, corev1.RestartPolicyNever)
	s.DNSPolicy = pick(r, "", corev1.DNSClusterFirst, corev1.DNSDefault)
	s.TerminationGracePeriodSeconds = some(r, 0.3, int64(0), 1, 30)
	s.ShareProcessNamespace = some(r, 0.1, true)
	s.HostUsers = some(r, 0.1, false)
	if r.maybe(0.3) {
		s.SecurityContext = &corev1.PodSecurityContext{
			RunAsUser: some(r, 0.5, int64(0), 1000), RunAsNonRoot: some(r, 0.3, true, false), FSGroup: some(r, 0.5, int64(7)),
			SeccompProfile: some(r, 0.3, corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}),
		}
		if r.maybe(0.3) {
			s.SecurityContext.Sysctls = []corev1.Sysctl{{Name: pick(r, "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies"), Value: "1"}}
		}
	}
	if r.maybe(0.15) {
		all := r.resources()
		s.Resources = &all
	}
	if r.maybe(0.05) {
		s.OS = &corev1.PodOS{Name: pick(r, corev1.Linux, corev1.Windows)}
	}
	if r.maybe(0.2) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "mine"}}
	}
}

func (r Random) labels() map[string]string {
	out, all := map[string]string{}, map[string]string{
		"app": "a", "version": "v1", "pod-template-hash": "1", "sidecar.istio.io/inject": "true", "service.istio.io/canonical-name": "me",
		"app.kubernetes.io/name": "n", "topology.istio.io/network": "net",
	}
	for _, k := range slices.Sorted(maps.Keys(all)) { // a map's own order would not follow from the seed
		if r.maybe(0.25) {
			out[k] = all[k]
		}
	}
	return out
}

// annotations of the injector's own, mostly well written.
func (r Random) annotations() map[string]string {
	out, all := map[string]string{}, map[string][]string{
		"traffic.sidecar.istio.io/excludeInboundPorts": {"", "80", "80, 443"}, "traffic.sidecar.istio.io/includeInboundPorts": {"*", "80", ""},
		"traffic.sidecar.istio.io/includeOutboundIPRanges": {"*", "10.0.0.0/8,fd00::/8"}, "traffic.sidecar.istio.io/excludeOutboundPorts": {"1", "x"},
		"sidecar.istio.io/interceptionMode": {"REDIRECT", "NONE", "TPROXY"}, "sidecar.istio.io/nativeSidecar": {"true", "false"},
		"sidecar.istio.io/proxyCPU": {"100m", "3", "a lot"}, "sidecar.istio.io/proxyMemoryLimit": {"64Mi", "1Gi"}, "sidecar.istio.io/proxyCPULimit": {"1"},
		"sidecar.istio.io/proxyImage": {"x/y:1", "z"}, "sidecar.istio.io/rewriteAppHTTPProbers": {"true", "false"},
		"status.sidecar.istio.io/port": {"15020", "0", "15099"}, "readiness.status.sidecar.istio.io/periodSeconds": {"1", "30"},
		"proxy.istio.io/config":       {"{holdApplicationUntilProxyStarts: true}", "{proxyMetadata: {A: b, 'a b': c}}", "{statusPort: 16020}", "["},
		"sidecar.istio.io/userVolume": {`{"extra":{"emptyDir":{}}}`}, "sidecar.istio.io/userVolumeMount": {`{"extra":{"mountPath":"/extra"}}`},
		"sidecar.istio.io/bootstrapOverride": {"mine"}, "prometheus.io/port": {"9100", "15020", "no"}, "prometheus.io/scrape": {"true", "false"},
		"sidecar.istio.io/proxyCpu": {"1"}, "mizzen.dev/filters": {"native", "wasm", "dynamic-module"}, "inject.istio.io/templates": {"gateway", "sidecar"},
		"sidecar.istio.io/status": {"{}"},
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if r.maybe(0.07) {
			out[name] = pick(r, all[name]...)
		}
	}
	return out
}

func (r Random) volumes() []corev1.Volume {
	var out []corev1.Volume
	for i := range r.IntN(4) {
		v := corev1.Volume{Name: fmt.Sprintf("v%d", i)}
		if r.maybe(0.15) {
			v.Name = pick(r, "istio-token", "istio-envoy", "workload-socket", "mizzen-module", "istiod-ca-cert")
		}
		ref := corev1.LocalObjectReference{Name: "c"}
		v.VolumeSource = pick(r, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ref}},
			corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}},
			corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/h"}},
			corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}})
		out = append(out, v)
	}
	return out
}

func (r Random) resources() corev1.ResourceRequirements {
	var out corev1.ResourceRequirements
	list := func(cpu ...string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if r.maybe(0.7) {
			l[corev1.ResourceCPU] = resource.MustParse(pick(r, cpu...))
		}
		if r.maybe(0.5) {
			l[corev1.ResourceMemory] = resource.MustParse(pick(r, "64Mi", "2Gi"))
		}
		return l
	}
	if r.maybe(0.5) {
		out.Requests = list("10m", "1", "3")
	}
	if r.maybe(0.3) {
		out.Limits = list("50m", "1", "4")
	}
	return out
}

func (r Random) container(name string, volumes []corev1.Volume) corev1.Container {
	c := corev1.Container{Name: name, Image: "example/app:1", Resources: r.resources()}
	if name == "istio-proxy" && r.maybe(0.8) {
		c.Image = "auto"
	}
	for i := range r.IntN(3) {
		c.Ports = append(c.Ports, corev1.ContainerPort{
			Name: pick(r, "", fmt.Sprintf("p%d", i), "http-envoy-prom"), ContainerPort: pick(r, int32(80), 8080, 15090, int32(9000+i)),
			Protocol: pick(r, "", corev1.ProtocolTCP, corev1.ProtocolUDP),
		})
	}
	for _, v := range volumes {
		if r.maybe(0.4) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: pick(r, "/"+v.Name, "/etc/istio/proxy", "/var/lib/mizzen"), ReadOnly: r.maybe(0.3)})
		}
	}
	if r.maybe(0.3) {
		c.Env = []corev1.EnvVar{{Name: pick(r, "A", "POD_NAME", "PROXY_CONFIG"), Value: "x"}}
	}
	c.ReadinessProbe, c.LivenessProbe, c.StartupProbe = r.probe(), r.probe(), r.probe()
	if c.ReadinessProbe != nil {
		c.ReadinessProbe.SuccessThreshold = pick(r, int32(0), 2)
	}
	if r.maybe(0.2) {
		c.Lifecycle = &corev1.Lifecycle{PreStop: r.hook(), PostStart: r.hook()}
	}
	if r.maybe(0.3) {
		c.SecurityContext = &corev1.SecurityContext{
			RunAsUser: some(r, 0.4, int64(0), 1234), Privileged: some(r, 0.3, true, false), AllowPrivilegeEscalation: some(r, 0.3, true, false),
			RunAsNonRoot: some(r, 0.2, true), ReadOnlyRootFilesystem: some(r, 0.2, true, false), ProcMount: some(r, 0.1, corev1.DefaultProcMount),
			Capabilities: some(r, 0.3, corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}, corev1.Capabilities{Add: []corev1.Capability{"NET_RAW"}}),
		}
	}
	return c
}

func (r Random) port() intstr.IntOrString {
	return pick(r, intstr.FromInt32(80), intstr.FromInt32(15020), intstr.FromString("p0"), intstr.FromString("nowhere"))
}

func (r Random) probe() *corev1.Probe {
	if r.maybe(0.7) {
		return nil
	}
	p := &corev1.Probe{PeriodSeconds: pick(r, int32(0), 3), TimeoutSeconds: pick(r, int32(0), 2)}
	switch r.IntN(4) {
	case 0:
		p.HTTPGet = &corev1.HTTPGetAction{Path: pick(r, "", "/a?b"), Port: r.port(), Scheme: pick(r, "", corev1.URISchemeHTTPS)}
	case 1:
		p.TCPSocket = &corev1.TCPSocketAction{Port: r.port(), Host: pick(r, "", "::1")}
	case 2:
		p.GRPC = &corev1.GRPCAction{Port: 80, Service: some(r, 0.5, "s")}
	default:
		p.Exec = &corev1.ExecAction{Command: []string{"x"}}
	}
	return p
}

func (r Random) hook() *corev1.LifecycleHandler {
	switch r.IntN(4) {
	case 0:
		return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Port: r.port()}}
	case 1:
		return &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{Port: r.port()}}
	case 2:
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}
	}
	return nil
}
