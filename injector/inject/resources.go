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

// grow makes room for the proxy in resources that a pod asks for as a whole, so that its applications keep what they had, and at least so
// much that its containers fit, without which Kubernetes refuses the pod.
func (b *build) grow() {
	whole, more := b.pod.Spec.Resources, b.sidecarOf()
	if whole == nil || more == nil {
		return
	}
	raise := func(list corev1.ResourceList, by, least corev1.ResourceList) {
		for key, have := range list {
			have.Add(by[key])
			if q := least[key]; have.Cmp(q) < 0 {
				have = q
			}
			list[key] = have
		}
	}
	least := needed(b.pod.Spec) // what Kubernetes takes for the pod's request, where it has none
	raise(whole.Requests, requests(*more), least)
	for _, c := range append(b.pod.Spec.InitContainers, b.pod.Spec.Containers...) {
		most(least, c.Resources.Limits)
	}
	most(least, whole.Requests)
	raise(whole.Limits, more.Resources.Limits, least)
}

// requests of a container as Kubernetes has them: without one, the limit.
func requests(c corev1.Container) corev1.ResourceList {
	out := corev1.ResourceList{}
	most(out, c.Resources.Limits)
	for key, q := range c.Resources.Requests {
		out[key] = q
	}
	return out
}

// needed is what containers ask for at the same time at most: all that stay, or an init container beside those that stay before it.
func needed(s corev1.PodSpec) corev1.ResourceList {
	out, stay := corev1.ResourceList{}, corev1.ResourceList{}
	sum := func(a, b corev1.ResourceList) corev1.ResourceList {
		all := a.DeepCopy()
		for key, q := range b {
			have := all[key]
			have.Add(q)
			all[key] = have
		}
		return all
	}
	for _, c := range s.InitContainers {
		now := sum(stay, requests(c))
		most(out, now)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			stay = now
		}
	}
	for _, c := range s.Containers {
		stay = sum(stay, requests(c))
	}
	most(out, stay)
	return out
}

// most raises what is in a list to another one.
func most(into, other corev1.ResourceList) {
	for key, q := range other {
		if have, ok := into[key]; !ok || have.Cmp(q) < 0 {
			into[key] = q
		}
	}
}

// sidecarOf is the pod's proxy, nil if templates made none.
func (b *build) sidecarOf() *corev1.Container {
	if c := find(b.pod.Spec.InitContainers, ProxyContainer); c != nil {
		return c
	}
	return find(b.pod.Spec.Containers, ProxyContainer)
}
