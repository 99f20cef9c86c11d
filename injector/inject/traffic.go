package inject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/injector/handover"
)

// traffic are the settings of interception: annotations, else values.
type traffic struct {
	includeRanges, excludeRanges               string // outbound
	includePorts, excludePorts                 string // inbound
	includeOutboundPorts, excludeOutboundPorts string
	virtual, excludeInterfaces                 string
}

func (b *build) traffic() traffic {
	v := b.policy.Values.Global.Proxy
	get := func(name string, value Text) string {
		return list(b.annotation("traffic.sidecar.istio.io/"+name, string(value)))
	}
	return traffic{
		includeRanges: get("includeOutboundIPRanges", v.IncludeIPRanges), excludeRanges: get("excludeOutboundIPRanges", v.ExcludeIPRanges),
		includePorts: get("includeInboundPorts", v.IncludeInboundPorts), excludePorts: get("excludeInboundPorts", v.ExcludeInboundPorts),
		includeOutboundPorts: get("includeOutboundPorts", v.IncludeOutboundPorts), excludeOutboundPorts: get("excludeOutboundPorts", v.ExcludeOutboundPorts),
		virtual:           list(b.annotation("istio.io/reroute-virtual-interfaces", b.annotation("traffic.sidecar.istio.io/kubevirtInterfaces", ""))),
		excludeInterfaces: list(b.annotation("traffic.sidecar.istio.io/excludeInterfaces", "")),
	}
}

// list takes the blanks out of a list.
func list(s string) string {
	var out []string
	for _, x := range strings.Split(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			out = append(out, x)
		}
	}
	return strings.Join(out, ",")
}

// excluded are the inbound ports that never come to the proxy: its own, and what is asked for.
func (b *build) excluded(asked string) string {
	ports := []string{strconv.Itoa(prometheusPort), strconv.Itoa(readinessPort)}
	if asked != "" {
		ports = append(ports, strings.Split(asked, ",")...)
	}
	if own := strconv.Itoa(int(b.status)); b.status != 0 && !slices.Contains(ports, own) {
		ports = append(ports, own)
	}
	return strings.Join(ports, ",")
}

// iptables are the arguments of the container that makes the rules, or waits for them. The flags are those of Istio's istio-iptables.
func (b *build) iptables() []string {
	v, t := b.policy.Values, b.traffic()
	out := []string{"iptables",
		"-p", port(b.policy.Mesh.GetProxyListenPort(), outboundPort),
		"-z", port(b.policy.Mesh.GetProxyInboundListenPort(), inboundPort),
		"-u", strconv.FormatInt(b.user(), 10), "-m", b.mode,
		"-i", t.includeRanges, "-x", t.excludeRanges, "-b", t.includePorts, "-d", b.excluded(t.excludePorts),
	}
	for _, o := range []struct{ flag, value string }{
		{"-q", t.includeOutboundPorts}, {"-o", t.excludeOutboundPorts}, {"-k", t.virtual}, {"-c", t.excludeInterfaces},
	} {
		if o.value != "" {
			out = append(out, o.flag, o.value)
		}
	}
	if level := b.agentLog(); level != "default:info" {
		out = append(out, "--log_output_level="+level)
	}
	if v.Global.LogAsJSON {
		out = append(out, "--log_as_json")
	}
	if v.Global.NativeNftables {
		out = append(out, "--backend", "nft")
	}
	return out
}

// interceptor is the init container that has connections intercepted, for which it must be root and change the network of the pod.
func (b *build) interceptor() corev1.Container {
	privileged := b.policy.Values.Global.Proxy.Privileged
	return corev1.Container{
		Name: b.free(InitContainer), Image: b.image("proxy_init"), Args: b.iptables(), ImagePullPolicy: b.policy.Values.Global.ImagePullPolicy,
		Env: variables(b.proxy.GetProxyMetadata()), Resources: *b.resources.DeepCopy(),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &privileged, Privileged: &privileged, ReadOnlyRootFilesystem: ptr(false),
			RunAsUser: ptr(int64(0)), RunAsGroup: ptr(int64(0)), RunAsNonRoot: ptr(false),
			Capabilities:   &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}, Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: b.policy.Values.Global.Proxy.SeccompProfile.DeepCopy(),
		},
	}
}

// forNode writes what a program of the node that intercepts connections reads: Interception, and the annotations of istio-cni. args are
// those of iptables, which were made before.
func (b *build) forNode(args []string) error {
	t := b.traffic()
	b.annotate("sidecar.istio.io/interceptionMode", b.mode)
	for _, x := range []struct{ name, value string }{
		{"includeOutboundIPRanges", t.includeRanges}, {"excludeOutboundIPRanges", t.excludeRanges}, {"includeInboundPorts", t.includePorts},
		{"excludeInboundPorts", b.excluded(t.excludePorts)},
		{"includeOutboundPorts", t.includeOutboundPorts}, {"excludeOutboundPorts", t.excludeOutboundPorts},
	} {
		if x.value != "" {
			b.annotate("traffic.sidecar.istio.io/"+x.name, x.value)
		}
	}
	raw, err := json.Marshal(handover.Interception{Args: args[1:], Env: b.proxy.GetProxyMetadata()})
	if err != nil {
		return fmt.Errorf("write annotation %s: %w", handover.InterceptionAnnotation, err)
	}
	b.annotate(handover.InterceptionAnnotation, string(raw))
	return nil
}

// validator is the init container that lets nothing of the pod start until the node has done its work.
func (b *build) validator(args []string) corev1.Container {
	security := b.restricted()
	security.RunAsUser = ptr(b.user())
	return corev1.Container{
		Name: b.free(ValidationContainer), Image: b.image("proxy_init"), ImagePullPolicy: b.policy.Values.Global.ImagePullPolicy,
		Args: append(args, "--skip-rule-apply", "--run-validation"), Env: variables(b.proxy.GetProxyMetadata()),
		Resources: *b.resources.DeepCopy(), SecurityContext: security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

func port(n int32, otherwise int) string {
	if n == 0 {
		n = int32(otherwise)
	}
	return strconv.Itoa(int(n))
}

// agentLog is the level of what the agent logs, "scope:level,...".
func (b *build) agentLog() string {
	return b.annotation("sidecar.istio.io/agentLogLevel", b.policy.Values.Global.Logging.Level)
}

// free is the name of an init container of the injector's, with a number if an application has it.
func (b *build) free(name string) string {
	out := name
	for i := 2; slices.Contains(b.applications(), out) || out != name && find(b.asked.Pod.Spec.InitContainers, out) != nil; i++ {
		out = fmt.Sprintf("%s-%d", name, i)
	}
	return out
}

func ptr[T any](v T) *T { return &v }
