package iptables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Options are those of Istio's pilot-agent istio-iptables. Lists are separated by commas; "*" is everything where it says so.
type Options struct {
	// ProxyPort is Envoy's port for what the pod sends (-p), InboundPort for what it gets (-z), TunnelPort is never redirected (-e).
	ProxyPort, InboundPort, TunnelPort uint16
	// ProxyUID and ProxyGID are numbers of the users and groups whose own traffic is left alone (-u, -g).
	ProxyUID, ProxyGID string
	// InboundPorts are redirected (-b): ports, "*" or "" for none; InboundExclude are not (-d), which counts with "*" only.
	InboundPorts, InboundExclude string
	// OutboundRanges of addresses are redirected (-i): CIDRs, "*" or "" for none; OutboundExclude are not (-x).
	OutboundRanges, OutboundExclude string
	// OutboundPorts are redirected whatever OutboundRanges says (-q); OutboundPortsExclude are not (-o), first of all.
	OutboundPorts, OutboundPortsExclude string
	// ExcludeInterfaces are left alone (-c). VirtualInterfaces are those of machines in the pod (-k): what comes from them counts as
	// sent by the pod.
	ExcludeInterfaces, VirtualInterfaces string
	// OwnerGroups are the groups whose traffic is redirected, "*" or "" for all but OwnerGroupsExclude
	// (ISTIO_OUTBOUND_OWNER_GROUPS, ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE).
	OwnerGroups, OwnerGroupsExclude string
	// Loopback is what counts as the application's own address, of IPv4 (ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR).
	Loopback string
	// DropInvalid packets instead of having connections reset by them.
	DropInvalid bool
	// RedirectDNS sends what goes to DNSServers, or with CaptureAllDNS to port 53 of anybody, to DNSPort.
	RedirectDNS, CaptureAllDNS bool
	DNSServers                 []netip.Addr
	DNSPort                    uint16
}

// Defaults are Istio's.
func Defaults() Options {
	return Options{
		ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008, ProxyUID: "1337", ProxyGID: "1337", OwnerGroups: "*",
		Loopback: "127.0.0.1/32", DNSPort: 15053,
	}
}

// Validate says what in the options cannot be made a rule.
func (o Options) Validate() error {
	var errs []error
	for _, p := range []struct{ flag, list string }{
		{"inbound ports (-b)", star(o.InboundPorts)}, {"excluded inbound ports (-d)", o.InboundExclude},
		{"outbound ports (-q)", o.OutboundPorts}, {"excluded outbound ports (-o)", o.OutboundPortsExclude},
	} {
		for _, s := range list(p.list) {
			if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
				errs = append(errs, fmt.Errorf("%s: %q is not a port", p.flag, s))
			}
		}
	}
	for _, p := range []struct{ flag, list string }{
		{"outbound ranges (-i)", star(o.OutboundRanges)}, {"excluded outbound ranges (-x)", o.OutboundExclude}, {"loopback range", o.Loopback},
	} {
		for _, s := range list(p.list) {
			if _, err := netip.ParsePrefix(s); err != nil {
				errs = append(errs, fmt.Errorf("%s: %q is not a range such as 10.0.0.0/8", p.flag, s))
			}
		}
	}
	for _, p := range []struct{ flag, list string }{
		{"proxy user (-u)", o.ProxyUID}, {"proxy group (-g)", o.ProxyGID}, {"groups", star(o.OwnerGroups)}, {"excluded groups", o.OwnerGroupsExclude},
	} {
		for _, s := range list(p.list) {
			if _, err := strconv.ParseUint(s, 10, 32); err != nil {
				errs = append(errs, fmt.Errorf("%s: %q is not a number", p.flag, s))
			}
		}
	}
	for _, s := range slices.Concat(list(o.ExcludeInterfaces), list(o.VirtualInterfaces)) {
		if len(s) > 15 || strings.ContainsAny(s, "\"'/\\;{}$`") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 127 }) {
			errs = append(errs, fmt.Errorf("interfaces (-c, -k): %q is not the name of one", s))
		}
	}
	if len(list(o.ProxyUID)) == 0 {
		errs = append(errs, errors.New("proxy user (-u): none, so that what the proxy sends would come back to it for ever"))
	}
	return errors.Join(errs...)
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	var out []string
	for _, x := range strings.Split(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			out = append(out, x)
		}
	}
	return out
}

// star is a list in which "*" is no member.
func star(s string) string {
	if s == "*" {
		return ""
	}
	return s
}

// dns are the servers of one family; capture tells whether any question is redirected at all.
func (o Options) dns(f Family) (servers []string, capture bool) {
	if !o.RedirectDNS {
		return nil, false
	}
	for _, a := range o.DNSServers {
		if a.Unmap().Is6() == (f == IPv6) {
			servers = append(servers, netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen()).String())
		}
	}
	return servers, o.CaptureAllDNS || len(o.DNSServers) > 0
}

// ranges are the members of a list that belong to a family; own tells whether any, of whatever family, is on loopback.
func ranges(s string, f Family) (out []string, own bool) {
	for _, x := range list(star(s)) {
		p, err := netip.ParsePrefix(x)
		if err != nil {
			continue // Validate says so
		}
		own = own || p.Addr().IsLoopback()
		if p.Addr().Is6() == (f == IPv6) {
			out = append(out, p.Masked().String())
		}
	}
	return out, own
}
