package iptables

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// loopback6 gives loopback the address ::6, from which Envoy's inbound listener reaches an application that listens on IPv6. Of
// IPv4 it has all of 127.0.0.0/8 anyway, 127.0.0.6 among them.
func loopback6() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	err = netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("::6"), Mask: net.CIDRMask(128, 128)}})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("give loopback the address ::6: %w", err)
	}
	return nil
}
