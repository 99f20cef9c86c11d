package corpus

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rare adds what few pods have, each with a small probability, so that most pods have some of it and few have much.
func (r Random) rare(s *corev1.PodSpec) {
	const share = 0.06
	for _, add := range []func(*corev1.PodSpec){r.node, r.names, r.claims, r.placed, r.host, r.extra, r.whim} {
		if r.maybe(3 * share) {
			add(s)
		}
	}
	for i := range s.Containers {
		r.rareContainer(&s.Containers[i], s)
	}
	for i := range s.InitContainers {
		r.rareContainer(&s.InitContainers[i], s)
	}
}

// node: where a pod may run.
func (r Random) node(s *corev1.PodSpec) {
	s.NodeSelector = map[string]string{"kubernetes.io/arch": "amd64"}
	s.Tolerations = []corev1.Toleration{{Key: "a", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: some(r, 0.5, int64(60))}}
	s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
		Weight: 1, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}},
	}}}}
	s.SchedulerName = pick(r, "", "mine")
}

// placed: how pods are spread.
func (r Random) placed(s *corev1.PodSpec) {
	s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: pick(r, "zone", "node"), WhenUnsatisfiable: pick(r, corev1.DoNotSchedule, corev1.ScheduleAnyway),
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}, MatchLabelKeys: pick(r, nil, []string{"pod-template-hash"}),
	}}
	s.SchedulingGates = pick(r, nil, []corev1.PodSchedulingGate{{Name: "example.com/gate"}})
	s.ReadinessGates = pick(r, nil, []corev1.PodReadinessGate{{ConditionType: "example.com/ready"}})
}

// names that a pod has and resolves.
func (r Random) names(s *corev1.PodSpec) {
	s.Hostname, s.Subdomain, s.SetHostnameAsFQDN = "h", pick(r, "", "s"), some(r, 0.3, true)
	s.HostAliases = []corev1.HostAlias{{IP: pick(r, "10.0.0.1", "fd00::1"), Hostnames: []string{"a.example"}}}
	s.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"10.0.0.2", "fd00::2"}, Searches: []string{"a.example"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: some(r, 0.8, "2")}}}
	if r.maybe(0.3) {
		s.DNSPolicy = corev1.DNSNone
	}
	s.EnableServiceLinks = some(r, 0.5, false)
}

// claims of devices and storage.
func (r Random) claims(s *corev1.PodSpec) {
	s.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu", ResourceClaimTemplateName: some(r, 1, "gpus")}}
	c := &s.Containers[r.IntN(len(s.Containers))]
	c.Resources.Claims = []corev1.ResourceClaim{{Name: "gpu", Request: pick(r, "", "one")}}
	s.Volumes = append(s.Volumes,
		corev1.Volume{Name: "disk", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, VolumeMode: some(r, 1, corev1.PersistentVolumeBlock),
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			}}}}},
		corev1.Volume{Name: "tree", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "example/files:1", PullPolicy: pick(r, "", corev1.PullAlways)}}},
		corev1.Volume{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: some(r, 0.5, int32(0o444)), Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "a"}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "l", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}}}},
		}}}},
		corev1.Volume{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "csi.spiffe.io", ReadOnly: some(r, 1, true)}}})
	c.VolumeDevices = []corev1.VolumeDevice{{Name: "disk", DevicePath: "/dev/x"}}
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "tree", MountPath: "/tree", SubPath: pick(r, "", "a/b")}, corev1.VolumeMount{
		Name: "all", MountPath: "/all", SubPathExpr: pick(r, "", "$(A)"), ReadOnly: true, RecursiveReadOnly: some(r, 0.2, corev1.RecursiveReadOnlyIfPossible),
	}, corev1.VolumeMount{Name: "csi", MountPath: pick(r, "/csi", "/var/run/secrets/workload-spiffe-uds"), ReadOnly: true})
}

// host: ports of the node, and what of it a pod shares.
func (r Random) host(s *corev1.PodSpec) {
	c := &s.Containers[0]
	c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 7777, HostPort: pick(r, int32(7777), 15090, 15021), HostIP: pick(r, "", "127.0.0.1", "::1"), Protocol: pick(r, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)})
	s.HostPID, s.HostIPC = r.maybe(0.3), r.maybe(0.3)
	if s.HostPID {
		s.ShareProcessNamespace = nil
	}
}

// extra is what concerns the pod as a whole and is seldom said.
func (r Random) extra(s *corev1.PodSpec) {
	s.ActiveDeadlineSeconds, s.AutomountServiceAccountToken = some(r, 0.5, int64(60)), some(r, 0.5, false)
	s.PreemptionPolicy = some(r, 0.1, corev1.PreemptNever)
	if s.SecurityContext == nil {
		s.SecurityContext = &corev1.PodSecurityContext{}
	}
	s.SecurityContext.SupplementalGroups, s.SecurityContext.SupplementalGroupsPolicy = []int64{1337}, some(r, 0.3, corev1.SupplementalGroupsPolicyStrict)
	s.SecurityContext.FSGroupChangePolicy = some(r, 0.3, corev1.FSGroupChangeOnRootMismatch)
	s.SecurityContext.AppArmorProfile = some(r, 0.3, corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault})
	if r.maybe(0.4) {
		s.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), "hugepages-2Mi": resource.MustParse("4Mi")},
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(pick(r, "1", "2")), "hugepages-2Mi": resource.MustParse("4Mi")}}
	}
}

// whim: containers that end and begin in their own ways.
func (r Random) whim(s *corev1.PodSpec) {
	s.OS = &corev1.PodOS{Name: corev1.Linux}
	for _, list := range [][]corev1.Container{s.Containers, s.InitContainers} {
		for i := range list {
			c := &list[i]
			if r.maybe(0.4) && c.RestartPolicy == nil {
				c.RestartPolicy = some(r, 1, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
				c.RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
					Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42},
				}}}
			}
			if c.Lifecycle != nil && r.maybe(0.5) {
				c.Lifecycle.StopSignal = some(r, 1, corev1.Signal("SIGUSR1"))
				c.Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}
			}
		}
	}
}

// rareContainer is what few containers have.
func (r Random) rareContainer(c *corev1.Container, s *corev1.PodSpec) {
	const share = 0.08
	if r.maybe(share) {
		c.EnvFrom = []corev1.EnvFromSource{{Prefix: pick(r, "", "P_"), ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}}
	}
	if r.maybe(share) {
		c.Env = append(c.Env, corev1.EnvVar{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIPs"}}},
			corev1.EnvVar{Name: "LIMIT", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("1m")}}})
	}
	if r.maybe(share) {
		c.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: pick(r, corev1.NotRequired, corev1.RestartContainer)}}
	}
	if r.maybe(share) {
		c.Stdin, c.TTY, c.WorkingDir = true, true, "/w"
		c.TerminationMessagePolicy, c.ImagePullPolicy = corev1.TerminationMessageFallbackToLogsOnError, corev1.PullNever
	}
	if r.maybe(share) && s.Resources == nil {
		c.Resources = corev1.ResourceRequirements{Limits: corev1.ResourceList{
			"example.com/gpu": resource.MustParse("1"), corev1.ResourceCPU: resource.MustParse("1500m"), corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"),
		}, Requests: corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}}
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.StartupProbe} {
		if p != nil {
			p.TerminationGracePeriodSeconds, p.FailureThreshold, p.InitialDelaySeconds = some(r, 0.3, int64(5)), pick(r, int32(0), 10), pick(r, int32(0), 2)
		}
	}
}
