package mesh

import "net/netip"

// Families are the kinds of addresses that a proxy's pod has, and so those that its proxy listens on, connects to and looks up.
type Families uint8

// The families. IPv4 where nothing is known.
const (
	IPv4 Families = iota
	IPv6
	DualStack
)

// FamiliesOf are those of addresses; what is none is passed over.
func FamiliesOf(addresses []string) Families {
	var v4, v6 bool
	for _, a := range addresses {
		if ip, err := netip.ParseAddr(a); err == nil {
			six := ip.Unmap().Is6()
			v4, v6 = v4 || !six, v6 || six
		}
	}
	switch {
	case v4 && v6:
		return DualStack
	case v6:
		return IPv6
	}
	return IPv4
}

// Has tells whether an address is of a family.
func (f Families) Has(ip netip.Addr) bool {
	return f == DualStack || ip.Unmap().Is6() == (f == IPv6)
}

// Any is the address that stands for all that the pod has, and those that do so too; mostly there are none.
func (f Families) Any() (address string, more []string) {
	switch f {
	case IPv6:
		return "::", nil
	case DualStack:
		return "0.0.0.0", []string{"::"}
	}
	return "0.0.0.0", nil
}

// Loopback is the address of programs in the pod for each other.
func (f Families) Loopback() string {
	if f == IPv6 {
		return "::1"
	}
	return "127.0.0.1"
}
