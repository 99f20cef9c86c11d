package iptables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// tables in the order in which they are written.
func tables() []string { return []string{mangle, nat, raw} }

// line is a rule as iptables-save prints it, from -A on.
func (r Rule) line() string {
	w := []string{"-A", r.chain}
	add := func(yes bool, words ...string) {
		if yes {
			w = append(w, words...)
		}
	}
	add(r.src != "", "-s", r.src)
	add(r.dst != "", "-d", r.dst)
	add(r.notDst != "", "!", "-d", r.notDst)
	add(r.in != "", "-i", r.in)
	add(r.out != "", "-o", r.out)
	add(r.proto != "", "-p", r.proto)
	add(r.dport != 0, "-m", r.proto, "--dport", port(r.dport))
	add(r.sport != 0, "-m", r.proto, "--sport", port(r.sport))
	switch len(r.notDports) {
	case 0:
	case 1:
		add(true, "-m", r.proto, "!", "--dport", port(r.notDports[0]))
	default:
		add(true, "-m", "multiport", "!", "--dports", joinPorts(r.notDports, ","))
	}
	add(r.invalid, "-m", "conntrack", "--ctstate", "INVALID")
	add(r.uid != "", "-m", "owner", "--uid-owner", r.uid)
	add(r.notUID != "", "-m", "owner", "!", "--uid-owner", r.notUID)
	add(r.gid != "", "-m", "owner", "--gid-owner", r.gid)
	for _, g := range r.notGIDs {
		add(true, "-m", "owner", "!", "--gid-owner", g)
	}
	switch {
	case r.redirect != 0:
		add(true, "-j", "REDIRECT", "--to-ports", port(r.redirect))
	case r.zone != 0:
		add(true, "-j", "CT", "--zone", strconv.Itoa(r.zone))
	default:
		add(true, "-j", r.jump)
	}
	return strings.Join(w, " ")
}

func port(p uint16) string { return strconv.Itoa(int(p)) }

func joinPorts(ps []uint16, by string) string {
	var out []string
	for _, p := range ps {
		out = append(out, port(p))
	}
	return strings.Join(out, by)
}

// Restore is the input of iptables-restore --noflush (of ip6tables-restore for IPv6) that puts rules in force where none of ours are.
func Restore(rules []Rule) string { return replace(rules, rules, nil) }

// saved is what iptables-save says of one table: our chains, and everybody's rules.
type saved struct{ chains, rules []string }

// parse reads the output of iptables-save.
func parse(text string) map[string]saved {
	out := map[string]saved{}
	table := ""
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		at := out[table]
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
			continue
		case strings.HasPrefix(line, ":"+prefix):
			at.chains = append(at.chains, strings.Fields(line[1:])[0])
		case strings.HasPrefix(line, "-A "):
			at.rules = append(at.rules, line)
		default:
			continue
		}
		out[table] = at
	}
	return out
}

// ours are the lines among all that rules wrote, or that have to do with our chains.
func ours(all []string, rules []Rule) []string {
	wrote := map[string]bool{}
	for _, r := range rules {
		wrote[r.line()] = true
	}
	var out []string
	for _, l := range all {
		if wrote[l] || strings.Contains(l, " "+prefix) {
			out = append(out, l)
		}
	}
	return out
}

// same tells whether what is in force is what rules ask for: our chains and the rules in each, in order. A rule that some version of
// iptables prints in words of its own only makes it say no, and then the rules are replaced by themselves.
func same(rules []Rule, now map[string]saved) bool {
	for _, t := range tables() {
		want, have := inTable(rules, t), now[t]
		if !slices.Equal(sorted(chains(want)), sorted(have.chains)) {
			return false
		}
		lines, mine := lines(want), ours(have.rules, want)
		for _, c := range append(chains(want), prerouting, output) {
			if !slices.Equal(of(c, lines), of(c, mine)) {
				return false
			}
		}
	}
	return true
}

// applied tells whether any rule of ours is in force.
func applied(now map[string]saved) bool {
	for _, t := range tables() {
		if len(now[t].chains) > 0 {
			return true
		}
	}
	return false
}

func lines(rules []Rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.line())
	}
	return out
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// of are the rules of a chain.
func of(chain string, lines []string) []string {
	var out []string
	for _, l := range lines {
		if strings.HasPrefix(l, "-A "+chain+" ") {
			out = append(out, l)
		}
	}
	return out
}

// replace puts rules in the place of what is in force of old rules, or of any of our chains: each table in one step. No rules: it only
// takes away.
func replace(rules, old []Rule, now map[string]saved) string {
	var b strings.Builder
	for _, t := range tables() {
		mine, have := inTable(rules, t), now[t]
		gone := ours(have.rules, inTable(old, t))
		if len(mine) == 0 && len(have.chains) == 0 && len(gone) == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", t)
		want := chains(mine)
		stale := slices.DeleteFunc(slices.Clone(have.chains), func(c string) bool { return slices.Contains(want, c) })
		for _, c := range slices.Concat(want, stale) {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c) // makes it, or empties it
		}
		for _, l := range gone {
			if !strings.HasPrefix(l, "-A "+prefix) { // in a chain that is not ours
				b.WriteString("-D" + strings.TrimPrefix(l, "-A") + "\n")
			}
		}
		for _, l := range lines(mine) {
			b.WriteString(l + "\n")
		}
		for _, c := range stale {
			fmt.Fprintf(&b, "-X %s\n", c)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}
