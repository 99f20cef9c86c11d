package iptables

// Family of addresses. Each has rules of its own.
type Family int

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Tables and chains, as Istio's.
const (
	nat    = "nat"
	mangle = "mangle"
	raw    = "raw"

	prerouting = "PREROUTING"
	output     = "OUTPUT"

	istioInbound    = "ISTIO_INBOUND"
	istioOutput     = "ISTIO_OUTPUT"
	istioRedirect   = "ISTIO_REDIRECT"
	istioInRedirect = "ISTIO_IN_REDIRECT"
	istioOutputDNS  = "ISTIO_OUTPUT_DNS"
	istioDrop       = "ISTIO_DROP"

	prefix = "ISTIO_" // of the chains that are ours
	back   = "RETURN"
)

// Rule is one rule of a chain, in words that both iptables and nftables know.
type Rule struct {
	table, chain string
	match
	target
}

// match is what a packet must be like: the zero value is any.
type match struct {
	src, dst, notDst string // ranges
	in, out          string // interfaces
	proto            string // tcp, udp
	dport, sport     uint16
	notDports        []uint16
	invalid          bool // of no connection that is known
	uid, notUID      string
	gid              string
	notGIDs          []string
}

// target is what becomes of a packet: one of them.
type target struct {
	jump     string // a chain, RETURN or DROP
	redirect uint16 // to this port of the pod
	zone     int    // of connection tracking
}

func jump(to string) target       { return target{jump: to} }
func redirect(port uint16) target { return target{redirect: port} }
func zone(n int) target           { return target{zone: n} }

// chains are those that rules fill or jump to, and that are ours, in the order of their first mention.
func chains(rules []Rule) []string {
	var out []string
	seen := map[string]bool{prerouting: true, output: true, back: true, "DROP": true, "": true}
	add := func(c string) {
		if !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	for _, r := range rules {
		add(r.chain)
	}
	for _, r := range rules {
		add(r.jump)
	}
	return out
}

// inTable are the rules of one table, in order.
func inTable(rules []Rule, table string) []Rule {
	var out []Rule
	for _, r := range rules {
		if r.table == table {
			out = append(out, r)
		}
	}
	return out
}
