package iptables

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// nftTable is the name of our table for one of iptables' tables: Istio's names, in a family of its own each.
func nftTable(table string) string { return "istio-proxy-" + table }

func nftFamily(f Family) string {
	if f == IPv6 {
		return "ip6"
	}
	return "ip"
}

// nftChain is ISTIO_IN_REDIRECT as istio-in-redirect.
func nftChain(c string) string { return strings.ReplaceAll(strings.ToLower(c), "_", "-") }

// hook is how a table's chain that is not ours gets its packets: of the type, and with the priority, that iptables' have.
func hook(table, chain string) string {
	kind, priority := "filter", -300
	switch {
	case table == nat:
		kind, priority = "nat", -100
	case table == mangle:
		priority = -150
	}
	return fmt.Sprintf("type %s hook %s priority %d; policy accept;", kind, nftChain(chain), priority)
}

// Nft is the input of nft -f that puts rules in force, whatever of ours was before, in one step.
func Nft(rules []Rule, f Family) string {
	var b strings.Builder
	b.WriteString(nftRemove(f))
	for _, t := range tables() {
		if mine := inTable(rules, t); len(mine) > 0 {
			b.WriteString(nftRules(mine, t, f))
		}
	}
	return b.String()
}

// nftRemove takes our tables away, of which it makes those first that are not there.
func nftRemove(f Family) string {
	var b strings.Builder
	for _, t := range tables() {
		fmt.Fprintf(&b, "add table %[1]s %[2]s\ndelete table %[1]s %[2]s\n", nftFamily(f), nftTable(t))
	}
	return b.String()
}

// nftRules is one table as nft --stateless list table prints it.
func nftRules(rules []Rule, table string, f Family) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", nftFamily(f), nftTable(table))
	first := true
	for _, c := range append([]string{prerouting, output}, chains(rules)...) {
		var lines []string
		for _, r := range rules {
			if r.chain == c {
				lines = append(lines, r.nft(f))
			}
		}
		own := strings.HasPrefix(c, prefix)
		if len(lines) == 0 && !own {
			continue
		}
		if !first {
			b.WriteString("\n")
		}
		first = false
		fmt.Fprintf(&b, "\tchain %s {\n", nftChain(c))
		if !own {
			fmt.Fprintf(&b, "\t\t%s\n", hook(table, c))
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "\t\t%s\n", l)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// nft is a rule in nftables' words.
func (r Rule) nft(f Family) string {
	var w []string
	add := func(yes bool, words ...string) {
		if yes {
			w = append(w, words...)
		}
	}
	ip := nftFamily(f)
	add(r.in != "", "iifname", `"`+r.in+`"`)
	add(r.out != "", "oifname", `"`+r.out+`"`)
	add(r.src != "", ip, "saddr", whole(r.src))
	add(r.dst != "", ip, "daddr", whole(r.dst))
	add(r.notDst != "", ip, "daddr", "!=", whole(r.notDst))
	add(r.proto != "" && r.dport == 0 && r.sport == 0 && len(r.notDports) == 0, "meta", "l4proto", r.proto)
	add(r.dport != 0, r.proto, "dport", port(r.dport))
	add(r.sport != 0, r.proto, "sport", port(r.sport))
	switch len(r.notDports) {
	case 0:
	case 1:
		add(true, r.proto, "dport", "!=", port(r.notDports[0]))
	default:
		add(true, r.proto, "dport", "!=", "{ "+joinPorts(r.notDports, ", ")+" }")
	}
	add(r.invalid, "ct", "state", "invalid")
	add(r.uid != "", "meta", "skuid", r.uid)
	add(r.notUID != "", "meta", "skuid", "!=", r.notUID)
	add(r.gid != "", "meta", "skgid", r.gid)
	for _, g := range r.notGIDs {
		add(true, "meta", "skgid", "!=", g)
	}
	w = append(w, "counter")
	switch {
	case r.redirect != 0:
		add(true, "redirect", "to", ":"+port(r.redirect))
	case r.zone != 0:
		add(true, "ct", "zone", "set", strconv.Itoa(r.zone))
	case r.jump == back || r.jump == "DROP":
		add(true, strings.ToLower(r.jump))
	default:
		add(true, "jump", nftChain(r.jump))
	}
	return strings.Join(w, " ")
}

// whole is a range without its length if that is one address, as nft prints it.
func whole(r string) string {
	if p, err := netip.ParsePrefix(r); err == nil && p.IsSingleIP() {
		return p.Addr().String()
	}
	return r
}
