package istio

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// The rules here are those of Kubernetes' own validation that proxies depend on: files have not been through it.

func validateService(o *Object[*corev1.Service]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if !hostname(o.Name) {
		v.fail("metadata.name", fmt.Sprintf("%q is not a service's name", o.Name), "write lower case letters, digits and '-'")
	}
	names := map[string]bool{}
	numbers := map[string]bool{}
	for i, p := range o.Spec.Spec.Ports {
		path := index("spec.ports", i)
		v.within(path+".port", int64(p.Port), 1, 65535)
		if n := p.TargetPort.IntVal; n != 0 {
			v.within(path+".targetPort", int64(n), 1, 65535)
		}
		if key := fmt.Sprint(p.Port, orTCP(p.Protocol)); numbers[key] {
			v.fail(path+".port", fmt.Sprintf("port %d stands twice", p.Port), "keep one")
		} else {
			numbers[key] = true
		}
		if names[p.Name] && p.Name != "" {
			v.fail(path+".name", fmt.Sprintf("port name %q stands twice", p.Name), "name each port on its own")
		}
		names[p.Name] = true
	}
	if ip := o.Spec.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
		v.address("spec.clusterIP", ip)
	}
	for i, ip := range o.Spec.Spec.ClusterIPs {
		if ip != corev1.ClusterIPNone {
			v.address(index("spec.clusterIPs", i), ip)
		}
	}
	if s := o.Spec.Spec; s.Type == corev1.ServiceTypeExternalName && !hostname(s.ExternalName) {
		v.fail("spec.externalName", fmt.Sprintf("%q is not a host", s.ExternalName), "write a name, without scheme or port")
	}
	return v.diags
}

func orTCP(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

func validatePod(o *Object[*corev1.Pod]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if ip := o.Spec.Status.PodIP; ip != "" {
		v.address("status.podIP", ip)
	}
	return v.diags
}

func validateEndpoints(o *Object[*corev1.Endpoints]) Diagnostics {
	v := &validator{meta: &o.Meta}
	for i, s := range o.Spec.Subsets {
		path := index("subsets", i)
		for j, a := range s.Addresses {
			v.address(index(path+".addresses", j)+".ip", a.IP)
		}
		for j, a := range s.NotReadyAddresses {
			v.address(index(path+".notReadyAddresses", j)+".ip", a.IP)
		}
		for j, p := range s.Ports {
			v.within(index(path+".ports", j)+".port", int64(p.Port), 1, 65535)
		}
	}
	return v.diags
}

func validateEndpointSlice(o *Object[*discoveryv1.EndpointSlice]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if o.Spec.AddressType == discoveryv1.AddressTypeFQDN {
		v.fail("addressType", "FQDN is not in this version: endpoints of a Service are addresses", "write a ServiceEntry with resolution: DNS")
		return v.diags
	}
	for i, e := range o.Spec.Endpoints {
		for j, a := range e.Addresses {
			v.address(index(index("endpoints", i)+".addresses", j), a)
		}
	}
	for i, p := range o.Spec.Ports {
		if p.Port != nil {
			v.within(index("ports", i)+".port", int64(*p.Port), 1, 65535)
		}
	}
	return v.diags
}

// address checks an IP address without a zone, which no other machine would understand.
func (v *validator) address(path, s string) {
	if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
		v.fail(path, fmt.Sprintf("%q is not an IP address", s), "")
	}
}
