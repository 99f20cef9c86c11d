package iptables

import (
	"slices"
	"strconv"
)

// builder gathers the rules of one family.
type builder struct {
	o     Options
	f     Family
	own   string // the application's own address, as a range
	rules []Rule
}

// Rules are those of one family, in order. The options are valid.
func Rules(o Options, f Family) []Rule {
	b := &builder{o: o, f: f, own: o.Loopback}
	if f == IPv6 {
		b.own = "::1/128"
	}
	b.interfaces()
	if o.DropInvalid {
		b.add(mangle, prerouting, match{invalid: true}, jump(istioDrop))
		b.add(mangle, istioDrop, match{}, jump("DROP"))
	}
	b.inbound()
	b.add(nat, output, match{}, jump(istioOutput))
	b.outbound()
	return b.rules
}

func (b *builder) add(table, chain string, m match, t target) {
	b.rules = append(b.rules, Rule{table, chain, m, t})
}

// interfaces are told apart before anything else: what machines in the pod send counts as sent by the pod.
func (b *builder) interfaces() {
	virtual := list(b.o.VirtualInterfaces)
	slices.Reverse(virtual)
	where, _ := ranges(b.o.OutboundRanges, b.f)
	slices.Reverse(where)
	for _, i := range virtual {
		if b.o.OutboundRanges == "*" {
			b.add(nat, prerouting, match{in: i}, jump(istioRedirect))
		}
		for _, r := range where {
			b.add(nat, prerouting, match{in: i, dst: r}, jump(istioRedirect))
		}
	}
	for _, i := range virtual {
		b.add(nat, prerouting, match{in: i}, jump(back))
	}
	for _, i := range list(b.o.ExcludeInterfaces) {
		b.add(nat, prerouting, match{in: i}, jump(back))
		b.add(nat, output, match{out: i}, jump(back))
	}
}

// inbound is what others send to the pod.
func (b *builder) inbound() {
	b.add(nat, istioInbound, match{proto: "tcp", dport: b.o.TunnelPort}, jump(back))
	b.add(nat, istioRedirect, match{proto: "tcp"}, redirect(b.o.ProxyPort))
	b.add(nat, istioInRedirect, match{proto: "tcp"}, redirect(b.o.InboundPort))
	if b.o.InboundPorts == "" {
		return
	}
	b.add(nat, prerouting, match{proto: "tcp"}, jump(istioInbound))
	if b.o.InboundPorts != "*" {
		for _, p := range ports(b.o.InboundPorts) {
			b.add(nat, istioInbound, match{proto: "tcp", dport: p}, jump(istioInRedirect))
		}
		return
	}
	for _, p := range ports(b.o.InboundExclude) {
		b.add(nat, istioInbound, match{proto: "tcp", dport: p}, jump(back))
	}
	b.add(nat, istioInbound, match{proto: "tcp"}, jump(istioInRedirect))
}

// outbound is what the pod sends, to itself too. The order matters: each rule is for what those before it have left.
func (b *builder) outbound() {
	for _, p := range ports(b.o.OutboundPortsExclude) {
		b.add(nat, istioOutput, match{proto: "tcp", dport: p}, jump(back))
		b.add(nat, istioOutput, match{proto: "udp", dport: p}, jump(back))
	}
	// From here Envoy's inbound listener reaches the application.
	passthrough := "127.0.0.6/32"
	if b.f == IPv6 {
		passthrough = "::6/128"
	}
	b.add(nat, istioOutput, match{src: passthrough, out: "lo"}, jump(back))
	_, dns := b.o.dns(b.f)
	for _, uid := range list(b.o.ProxyUID) {
		b.proxy(match{uid: uid}, match{notUID: uid}, dns, dns)
	}
	for _, gid := range list(b.o.ProxyGID) {
		b.proxy(match{gid: gid}, match{notGIDs: []string{gid}}, false, dns)
	}
	b.groups()
	if dns {
		b.captureDNS()
	}
	b.add(nat, istioOutput, match{dst: b.own}, jump(back))
	except, _ := ranges(b.o.OutboundExclude, b.f)
	for _, r := range except {
		b.add(nat, istioOutput, match{dst: r}, jump(back))
	}
	for _, p := range ports(b.o.OutboundPorts) {
		b.add(nat, istioOutput, match{proto: "tcp", dport: p}, jump(istioRedirect))
	}
	if b.o.OutboundRanges == "*" {
		b.add(nat, istioOutput, match{}, jump(istioRedirect))
	}
	only, _ := ranges(b.o.OutboundRanges, b.f)
	for _, r := range only {
		b.add(nat, istioOutput, match{dst: r}, jump(istioRedirect))
	}
}

// proxy is what Envoy sends (is), and what the application sends to its own pod (isNot).
func (b *builder) proxy(is, isNot match, spareDNS, dns bool) {
	// The application called a service that it is behind itself: in again, by the front door. Questions of the agent to a DNS
	// server in the pod go straight.
	self := is
	self.out, self.notDst, self.proto, self.notDports = "lo", b.own, "tcp", []uint16{b.o.TunnelPort}
	if spareDNS {
		self.notDports = []uint16{53, b.o.TunnelPort}
	}
	b.add(nat, istioOutput, self, jump(istioInRedirect))
	// The application calls itself by its pod's address: nothing to do with a mesh, unless loopback was asked for.
	if _, own := ranges(b.o.OutboundRanges, b.f); !own {
		isNot.out = "lo"
		if dns {
			isNot.proto, isNot.notDports = "tcp", []uint16{53}
		}
		b.add(nat, istioOutput, isNot, jump(back))
	}
	// What Envoy sends is never sent to Envoy.
	b.add(nat, istioOutput, is, jump(back))
}

// groups leave those alone whose traffic is not wanted.
func (b *builder) groups() {
	if b.o.OwnerGroups == "*" || b.o.OwnerGroups == "" {
		for _, g := range list(b.o.OwnerGroupsExclude) {
			b.add(nat, istioOutput, match{gid: g}, jump(back))
		}
		return
	}
	b.add(nat, istioOutput, match{notGIDs: list(b.o.OwnerGroups)}, jump(back))
}

// captureDNS sends questions to the agent. Both halves of an exchange (application and agent, agent and server) may have the same
// ports and addresses, so connection tracking keeps them in zones of their own: 2 and 1.
func (b *builder) captureDNS() {
	servers, _ := b.o.dns(b.f)
	if b.o.CaptureAllDNS {
		servers = []string{""} // any
	}
	b.add(raw, output, match{}, jump(istioOutputDNS))
	if len(servers) > 0 {
		b.add(nat, istioOutput, match{}, jump(istioOutputDNS))
	}
	for _, proto := range []string{"tcp", "udp"} {
		for _, s := range servers {
			b.add(nat, istioOutputDNS, match{dst: s, proto: proto, dport: 53}, redirect(b.o.DNSPort))
		}
	}
	agent := func(m match) {
		m.proto = "udp"
		ask, answer := m, m
		ask.dport, answer.sport = 53, b.o.DNSPort
		b.add(raw, istioOutputDNS, ask, zone(1))
		b.add(raw, istioOutputDNS, answer, zone(2))
	}
	for _, uid := range list(b.o.ProxyUID) {
		agent(match{uid: uid})
	}
	for _, gid := range list(b.o.ProxyGID) {
		agent(match{gid: gid})
	}
	if len(servers) > 0 {
		b.add(raw, prerouting, match{}, jump(istioInbound))
	}
	for _, s := range servers {
		b.add(raw, istioOutputDNS, match{dst: s, proto: "udp", dport: 53}, zone(2))
		b.add(raw, istioInbound, match{src: s, proto: "udp", sport: 53}, zone(1))
	}
}

// ports of a list that is valid.
func ports(s string) []uint16 {
	var out []uint16
	for _, x := range list(s) {
		if n, err := strconv.ParseUint(x, 10, 16); err == nil {
			out = append(out, uint16(n))
		}
	}
	return out
}
