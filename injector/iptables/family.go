package iptables

import "net/netip"

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
