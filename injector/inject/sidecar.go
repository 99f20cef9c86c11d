package inject

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// sidecar is the template of that name.
func (b *build) sidecar() error {
	c := b.agent("sidecar")
	c.SecurityContext = b.proxySecurity()
	if b.status != 0 {
		c.StartupProbe, c.ReadinessProbe = b.startup(), b.readiness()
	}
	c.Lifecycle = b.lifecycle()
	if b.native {
		c.RestartPolicy = ptr(corev1.ContainerRestartPolicyAlways)
	}
	mounts, err := b.usersVolumes()
	if err != nil {
		return err
	}
	c.VolumeMounts = b.mount(c.VolumeMounts, mounts)
	switch {
	case !b.intercepted():
	case b.policy.Values.Pilot.CNI.Enabled:
		args := b.iptables()
		if err := b.forNode(args); err != nil {
			return err
		}
		b.container(b.validator(args), true)
	default:
		b.container(b.interceptor(), true)
	}
	b.container(c, b.native)
	b.label(labelTLS, "istio")
	b.identify()
	return nil
}

// gateway is the template of that name: a proxy alone, which may open any port without being root.
func (b *build) gateway() {
	b.native = false
	c := b.agent("router")
	c.SecurityContext = b.restricted()
	c.ReadinessProbe = b.readiness()
	c.Lifecycle = b.policy.Values.Global.Proxy.Lifecycle.DeepCopy()
	c.Resources = corev1.ResourceRequirements{} // a gateway's Deployment says them itself
	b.container(c, false)
	b.identify()
	want := b.policy.Values.Gateways.SecurityContext.DeepCopy()
	if want == nil {
		want = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}}}
	}
	if own := b.pod.Spec.SecurityContext; own != nil {
		want.Sysctls = append(missing(want.Sysctls, own.Sysctls), own.Sysctls...)
		overlay(want, own)
	}
	b.pod.Spec.SecurityContext = want
}

// missing are those of a that b does not set.
func missing(a, b []corev1.Sysctl) []corev1.Sysctl {
	var out []corev1.Sysctl
	for _, s := range a {
		found := false
		for _, x := range b {
			found = found || x.Name == s.Name
		}
		if !found {
			out = append(out, s)
		}
	}
	return out
}

// agent is the proxy's container as far as sidecars and gateways agree. role is sidecar or router.
func (b *build) agent(role string) corev1.Container {
	v := b.policy.Values.Global
	c := corev1.Container{
		Name: ProxyContainer, Image: b.image("proxy"), ImagePullPolicy: v.ImagePullPolicy, Resources: *b.resources.DeepCopy(),
		Args: []string{
			"proxy", role, "--domain", "$(POD_NAMESPACE).svc." + v.Proxy.ClusterDomain,
			"--proxyLogLevel=" + b.annotation("sidecar.istio.io/logLevel", v.Proxy.LogLevel),
			"--proxyComponentLogLevel=" + b.annotation("sidecar.istio.io/componentLogLevel", v.Proxy.ComponentLogLevel),
			"--log_output_level=" + b.agentLog(),
		},
		Ports: []corev1.ContainerPort{{Name: "http-envoy-prom", ContainerPort: prometheusPort, Protocol: corev1.ProtocolTCP}},
		Env:   b.environment(), VolumeMounts: b.volumes(),
	}
	if v.LogAsJSON {
		c.Args = append(c.Args, "--log_as_json")
	}
	return c
}

// mount adds mounts; one at a path that is taken has it.
func (b *build) mount(into, more []corev1.VolumeMount) []corev1.VolumeMount {
	for _, m := range more {
		into = keyed(into, []corev1.VolumeMount{m}, mountKey)
	}
	return into
}

func ready() corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz/ready", Port: intstr.FromInt32(readinessPort)}}
}

// startup holds native sidecars' successors, and readiness, back until the proxy has its configuration.
func (b *build) startup() *corev1.Probe {
	s := b.policy.Values.Global.Proxy.StartupProbe
	if !s.Enabled {
		return nil
	}
	return &corev1.Probe{ProbeHandler: ready(), PeriodSeconds: 1, TimeoutSeconds: 3, FailureThreshold: s.FailureThreshold}
}

func (b *build) readiness() *corev1.Probe {
	v := b.policy.Values.Global.Proxy
	number := func(name string, otherwise int32) int32 {
		if n, err := strconv.ParseInt(b.annotation("readiness.status.sidecar.istio.io/"+name, ""), 10, 32); err == nil {
			return int32(n)
		}
		return otherwise
	}
	return &corev1.Probe{
		ProbeHandler: ready(), TimeoutSeconds: 3, InitialDelaySeconds: number("initialDelaySeconds", v.ReadinessInitialDelaySeconds),
		PeriodSeconds: number("periodSeconds", v.ReadinessPeriodSeconds), FailureThreshold: number("failureThreshold", v.ReadinessFailureThreshold),
	}
}

// lifecycle: a proxy that holds the application back is waited for by its own hook, since kubelet starts containers in order and waits for
// each hook. A native sidecar begins to drain when the pod ends, though it is stopped after the application only.
func (b *build) lifecycle() *corev1.Lifecycle {
	exec := func(args ...string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: append([]string{Program}, args...)}}
	}
	switch l := b.policy.Values.Global.Proxy.Lifecycle; {
	case l != nil:
		return l.DeepCopy()
	case b.native:
		port := b.status
		if port == 0 {
			port = statusPort
		}
		return &corev1.Lifecycle{PreStop: exec("request", "--debug-port="+strconv.Itoa(int(port)), "POST", "drain")}
	case b.proxy.GetHoldApplicationUntilProxyStarts().GetValue():
		return &corev1.Lifecycle{PostStart: exec("wait")}
	}
	return nil
}
