package run

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// clusterIPs gives Services that have no virtual address one of a range, as an API server does: where there is none, in the local mesh.
// A Service keeps its address while it lives; mostly, for it goes by its name, also over restarts.
type clusterIPs struct {
	zone  netip.Prefix // of IPv4
	dealt map[istio.Ref]netip.Addr
	made  map[*istio.Object[*corev1.Service]]*istio.Object[*corev1.Service]
}

// reservedIPs are the first addresses of the range, which no Service is given: those of the API server and of DNS are among them.
const reservedIPs = 256

// deal returns the set with all addresses filled in. An object that is the same as before gives the same object again.
func (c *clusterIPs) deal(set istio.Set) istio.Set {
	if !c.zone.IsValid() {
		return set
	}
	taken, dealt := map[netip.Addr]bool{}, map[istio.Ref]netip.Addr{}
	for _, o := range set.Services {
		if ip, err := netip.ParseAddr(o.Spec.Spec.ClusterIP); err == nil {
			taken[ip] = true
		}
	}
	for _, o := range set.Services {
		if ip, ok := c.dealt[o.Ref]; ok && wantsIP(o.Spec) && !taken[ip] {
			dealt[o.Ref], taken[ip] = ip, true
		}
	}
	made := map[*istio.Object[*corev1.Service]]*istio.Object[*corev1.Service]{}
	out := make([]*istio.Object[*corev1.Service], len(set.Services))
	for i, o := range set.Services {
		out[i] = o
		if !wantsIP(o.Spec) {
			continue
		}
		if _, ok := dealt[o.Ref]; !ok {
			ip, ok := c.free(o.Ref, taken)
			if !ok {
				continue // none is left: it is reached by its name alone
			}
			dealt[o.Ref], taken[ip] = ip, true
		}
		ip := dealt[o.Ref].String()
		if was := c.made[o]; was != nil && was.Spec.Spec.ClusterIP == ip {
			out[i] = was
		} else {
			with := *o
			with.Spec = o.Spec.DeepCopy()
			with.Spec.Spec.ClusterIP = ip
			out[i] = &with
		}
		made[o] = out[i]
	}
	set.Services, c.dealt, c.made = out, dealt, made
	return set
}

// wantsIP tells whether a Service is to have an address, and has none.
func wantsIP(s *corev1.Service) bool {
	return s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) == 0 && s.Spec.Type != corev1.ServiceTypeExternalName
}

// free is the address that a name asks for, or the next that nobody has.
func (c *clusterIPs) free(ref istio.Ref, taken map[netip.Addr]bool) (netip.Addr, bool) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s", ref.Namespace, ref.Name)
	first := c.zone.Masked().Addr().As4()
	base := uint32(first[0])<<24 | uint32(first[1])<<16 | uint32(first[2])<<8 | uint32(first[3])
	places := uint64(1)<<(32-c.zone.Bits()) - reservedIPs - 1 // without the last
	for i := range places {
		n := base + reservedIPs + uint32((h.Sum64()%places+i)%places)
		ip := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		if !taken[ip] {
			return ip, true
		}
	}
	return netip.Addr{}, false
}
