package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// proxyResources are the annotations', if there is one; else the values'. As in Istio, one annotation sets all of the values aside.
func (b *build) proxyResources() (corev1.ResourceRequirements, error) {
	var out corev1.ResourceRequirements
	set := func(name string, list *corev1.ResourceList, key corev1.ResourceName) error {
		text, ok := b.pod.Annotations[name]
		if !ok {
			return nil
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return fmt.Errorf("read annotation %s: %w", name, err)
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[key] = q
		return nil
	}
	const prefix = "sidecar.istio.io/proxy"
	for _, x := range []struct {
		name string
		list *corev1.ResourceList
		key  corev1.ResourceName
	}{
		{"CPU", &out.Requests, corev1.ResourceCPU}, {"Memory", &out.Requests, corev1.ResourceMemory},
		{"CPULimit", &out.Limits, corev1.ResourceCPU}, {"MemoryLimit", &out.Limits, corev1.ResourceMemory},
	} {
		if err := set(prefix+x.name, x.list, x.key); err != nil {
			return out, err
		}
	}
	for key, name := range map[corev1.ResourceName]string{corev1.ResourceCPU: prefix + "CPU", corev1.ResourceMemory: prefix + "Memory"} {
		request, asked := out.Requests[key]
		if limit, ok := out.Limits[key]; ok && asked && request.Cmp(limit) > 0 {
			return out, fmt.Errorf("read annotation %s: %s is more than %sLimit, %s", name, request.String(), name, limit.String())
		}
	}
	if out.Requests == nil && out.Limits == nil {
		return *b.policy.Values.Global.Proxy.Resources.DeepCopy(), nil
	}
	return out, nil
}

// fit mends requests above limits, where a user wrote the one and the injector the other: the user's stands.
func fit(r *corev1.ResourceRequirements, user corev1.ResourceRequirements) {
	for key, limit := range r.Limits {
		request, ok := r.Requests[key]
		if !ok || request.Cmp(limit) <= 0 {
			continue
		}
		if _, own := user.Limits[key]; own {
			r.Requests[key] = limit
		} else {
			r.Limits[key] = request
		}
	}
}

// grow makes room for the proxy in resources that a pod asks for as a whole, so that its applications keep what they had.
func (b *build) grow() {
	whole, more := b.pod.Spec.Resources, b.sidecarOf()
	if whole == nil || more == nil {
		return
	}
	add := func(into, by corev1.ResourceList) {
		for key, q := range by {
			if have, ok := into[key]; ok {
				have.Add(q)
				into[key] = have
			}
		}
	}
	add(whole.Requests, more.Resources.Requests)
	add(whole.Limits, more.Resources.Limits)
}

// sidecarOf is the pod's proxy, nil if templates made none.
func (b *build) sidecarOf() *corev1.Container {
	if c := find(b.pod.Spec.InitContainers, ProxyContainer); c != nil {
		return c
	}
	return find(b.pod.Spec.Containers, ProxyContainer)
}
