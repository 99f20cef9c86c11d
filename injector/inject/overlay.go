package inject

import (
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// overlay sets the fields of into that over sets; the values are shared. Both are pointers to structs of one type.
func overlay(into, over any) {
	a, b := reflect.ValueOf(into).Elem(), reflect.ValueOf(over).Elem()
	for i := range b.NumField() {
		if f := b.Field(i); !f.IsZero() {
			a.Field(i).Set(f)
		}
	}
}

// users lays the containers that the user wrote under the injector's names over what the templates made of them: what he says stands,
// what he leaves out is the injector's. Of lists with a key (variables, ports, mounts) he replaces the members that he names.
func (b *build) users() {
	for _, c := range b.own {
		for _, list := range [][]corev1.Container{b.pod.Spec.Containers, b.pod.Spec.InitContainers} {
			if base := find(list, c.Name); base != nil {
				user(base, *c.DeepCopy(), c.Name == ProxyContainer)
			}
		}
	}
}

// user merges one container. fixed: its restart policy follows from the list that it stands in.
func user(base *corev1.Container, over corev1.Container, fixed bool) {
	if over.Image == autoImage {
		over.Image = ""
	}
	if fixed { // rules are of a policy of the container's own
		over.RestartPolicy, over.RestartPolicyRules = base.RestartPolicy, nil
	}
	over.Env = keyed(base.Env, over.Env, func(e corev1.EnvVar) string { return e.Name })
	over.Ports = ports(base.Ports, over.Ports)
	over.VolumeMounts = keyed(base.VolumeMounts, over.VolumeMounts, mountKey)
	over.VolumeDevices = keyed(base.VolumeDevices, over.VolumeDevices, func(d corev1.VolumeDevice) string { return d.DevicePath })
	own := over.Resources
	over.Resources = merged(base.Resources, own)
	fit(&over.Resources, own)
	over.ReadinessProbe, over.StartupProbe = probe(base.ReadinessProbe, over.ReadinessProbe), probe(base.StartupProbe, over.StartupProbe)
	if base.Lifecycle != nil && over.Lifecycle != nil {
		l := *base.Lifecycle
		overlay(&l, over.Lifecycle)
		over.Lifecycle = &l
	}
	if base.SecurityContext != nil && over.SecurityContext != nil {
		s := base.SecurityContext.DeepCopy()
		if over.SecurityContext.Capabilities != nil && s.Capabilities != nil {
			overlay(s.Capabilities, over.SecurityContext.Capabilities)
			over.SecurityContext.Capabilities = s.Capabilities
		}
		overlay(s, over.SecurityContext)
		consistent(s, over.SecurityContext)
		over.SecurityContext = s
	}
	overlay(base, &over)
}

// keyed replaces the members of a that b has, by their key, and appends the others of b.
func keyed[T any](a, b []T, key func(T) string) []T {
	out := slices.Clone(a)
	for i, x := range b {
		same := func(y T) bool { return key(x) == key(y) }
		// A second one of the same key in b is the user's affair: it is appended.
		if at := slices.IndexFunc(out, same); at >= 0 && !slices.ContainsFunc(b[:i], same) {
			out[at] = x
		} else {
			out = append(out, x)
		}
	}
	return out
}

func mountKey(m corev1.VolumeMount) string { return m.MountPath }

// ports: a port of the injector's gives way to one of the user's with its number or its name.
func ports(base, over []corev1.ContainerPort) []corev1.ContainerPort {
	out := slices.DeleteFunc(slices.Clone(base), func(p corev1.ContainerPort) bool {
		return slices.ContainsFunc(over, func(u corev1.ContainerPort) bool {
			return u.Name != "" && u.Name == p.Name || u.ContainerPort == p.ContainerPort && protocol(u) == protocol(p)
		})
	})
	return append(out, over...)
}

func protocol(p corev1.ContainerPort) string {
	if p.Protocol == "" {
		return string(corev1.ProtocolTCP)
	}
	return string(p.Protocol)
}

func merged(a, b corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := *a.DeepCopy()
	lay := func(into *corev1.ResourceList, over corev1.ResourceList) {
		for key, q := range over {
			if *into == nil {
				*into = corev1.ResourceList{}
			}
			(*into)[key] = q
		}
	}
	lay(&out.Requests, b.Requests)
	lay(&out.Limits, b.Limits)
	if b.Claims != nil {
		out.Claims = b.Claims
	}
	return out
}

// probe: numbers are merged; a way to ask takes the place of the injector's.
func probe(base, over *corev1.Probe) *corev1.Probe {
	if base == nil || over == nil {
		return over
	}
	out := base.DeepCopy()
	if over.ProbeHandler != (corev1.ProbeHandler{}) {
		out.ProbeHandler = corev1.ProbeHandler{}
	}
	overlay(&out.ProbeHandler, &over.ProbeHandler)
	rest := *over
	rest.ProbeHandler = out.ProbeHandler
	overlay(out, &rest)
	return out
}
