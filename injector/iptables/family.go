package iptables

import (
	"fmt"
	"net"
	"net/netip"
)

// Families are those that a pod with these addresses needs rules for: IPv4 always, IPv6 if any of its addresses is, those of loopback
// and of the link alone excepted.
func Families(addresses []netip.Addr) []Family {
	for _, a := range addresses {
		if a = a.Unmap(); a.Is6() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() {
			return []Family{IPv4, IPv6}
		}
	}
	return []Family{IPv4}
}

// Addresses are those of the network namespace of the thread that calls it.
func Addresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the pod's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}
