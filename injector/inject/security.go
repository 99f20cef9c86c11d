package inject

import (
	corev1 "k8s.io/api/core/v1"
)

// proxyUser is the user and the group of the proxy, by which interception knows what the proxy itself sends.
const proxyUser = 1337

// user is who the proxy runs as, if that is said and is not root: whose traffic interception leaves alone, besides the group's.
func (b *build) user() int64 {
	for _, c := range b.own {
		if s := c.SecurityContext; c.Name == ProxyContainer && s != nil && s.RunAsUser != nil && *s.RunAsUser != 0 {
			return *s.RunAsUser
		}
	}
	return proxyUser
}

// restricted is what Kubernetes' pod security standard of that name asks for.
func (b *build) restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false), Privileged: ptr(false), ReadOnlyRootFilesystem: ptr(true),
		RunAsUser: ptr(int64(proxyUser)), RunAsGroup: ptr(int64(proxyUser)), RunAsNonRoot: ptr(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: b.policy.Values.Global.Proxy.SeccompProfile.DeepCopy(),
	}
}

// proxySecurity is restricted, unless the proxy must open ports below 1024: then it is root.
func (b *build) proxySecurity() *corev1.SecurityContext {
	s := b.restricted()
	if b.policy.Values.Global.Proxy.Privileged {
		s.Privileged, s.AllowPrivilegeEscalation = ptr(true), ptr(true)
	}
	if b.annotation(annotationBind, "") == "true" {
		s.Capabilities.Add = []corev1.Capability{"NET_BIND_SERVICE"}
		s.RunAsUser, s.RunAsNonRoot = ptr(int64(0)), ptr(false)
	}
	return s
}

// consistent mends what the API server refuses of a security context that a user and the injector wrote together. The user's word stands.
func consistent(s *corev1.SecurityContext, user *corev1.SecurityContext) {
	if s == nil || user == nil {
		return
	}
	escalates := user.Privileged != nil && *user.Privileged
	if user.Capabilities != nil {
		for _, c := range user.Capabilities.Add {
			escalates = escalates || c == "SYS_ADMIN" || c == "CAP_SYS_ADMIN"
		}
	}
	if escalates && user.AllowPrivilegeEscalation == nil {
		s.AllowPrivilegeEscalation = nil
	}
	if user.AllowPrivilegeEscalation != nil && !*user.AllowPrivilegeEscalation && user.Privileged == nil {
		s.Privileged = ptr(false)
	}
	if user.RunAsUser != nil && *user.RunAsUser == 0 && user.RunAsNonRoot == nil {
		s.RunAsNonRoot = ptr(false)
	}
}
