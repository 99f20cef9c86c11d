package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
)

// Backend is a way to put rules in force.
type Backend string

// The backends. Each of iptables' is the program of that name with its -save and -restore and their ip6 counterparts.
const (
	Auto     Backend = "auto" // the one that holds rules of ours already, else the first that works
	Default  Backend = "iptables"
	OnNft    Backend = "iptables-nft"
	OnLegacy Backend = "iptables-legacy"
	Native   Backend = "nft"
)

// Backends are all, in the order in which Auto tries them.
func Backends() []Backend { return []Backend{Default, OnNft, OnLegacy, Native} }

// ParseBackend reads the name of one.
func ParseBackend(s string) (Backend, error) {
	if b := Backend(s); b == Auto || slices.Contains(Backends(), b) {
		return b, nil
	}
	return "", fmt.Errorf("backend %q: want auto, iptables, iptables-nft, iptables-legacy or nft", s)
}

// Applier changes the rules of the network namespace of the thread that calls it.
type Applier struct {
	Backend Backend
	// Families that get rules; those of the others are left as they are.
	Families []Family
	Log      *slog.Logger // not nil
}

// Apply puts the rules in force, and tells by which backend, and whether anything had to be changed for it. Rules of an earlier
// call, with whatever options, are replaced in one step: there is no moment without any. Only those that another -c or -k wrote into
// iptables' own chains stay, as Istio's do: nothing tells them from somebody else's. With rules for IPv6 loopback gets the address ::6.
func (a Applier) Apply(ctx context.Context, o Options) (used Backend, changed bool, err error) {
	if err := o.Validate(); err != nil {
		return "", false, err
	}
	if slices.Contains(a.Families, IPv6) {
		if err := loopback6(); err != nil {
			return "", false, err
		}
	}
	candidates := a.candidates(ctx)
	if len(candidates) == 0 {
		return "", false, fmt.Errorf("apply rules: neither iptables nor nft is installed (asked for: %s)", a.Backend)
	}
	var failed []error
	for _, b := range candidates {
		changed, err := a.applyBy(ctx, b, o)
		if err == nil {
			return b, changed, nil
		}
		failed = append(failed, err)
		if len(candidates) > 1 {
			a.Log.Warn("this backend does not work here, trying the next", "backend", b, "error", err)
		}
		_ = a.cleanupBy(ctx, b, o)
	}
	return "", false, fmt.Errorf("apply rules: %w", errors.Join(failed...))
}

// Cleanup takes our rules away, by every backend that has any; those of -c and -k if o has the same.
func (a Applier) Cleanup(ctx context.Context, o Options) error {
	var failed []error
	for _, b := range a.candidates(ctx) {
		if held := a.holds(ctx, b); !held && a.Backend == Auto {
			continue
		}
		if err := a.cleanupBy(ctx, b, o); err != nil {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("remove rules: %w", err)
	}
	return nil
}

// candidates are the backends to try, in order.
func (a Applier) candidates(ctx context.Context) []Backend {
	if a.Backend != Auto {
		return []Backend{a.Backend}
	}
	var out []Backend
	for _, b := range Backends() {
		if _, err := exec.LookPath(string(b)); err == nil {
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, func(x, y Backend) int { return rank(a.holds(ctx, x)) - rank(a.holds(ctx, y)) })
	return out
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// holds tells whether rules of ours are in force by a backend.
func (a Applier) holds(ctx context.Context, b Backend) bool {
	for _, f := range a.Families {
		if b == Native {
			if text, err := run(ctx, "", "nft", "list", "tables"); err == nil && strings.Contains(text, " "+nftTable("")) {
				return true
			}
			continue
		}
		if text, err := run(ctx, "", program(b, f)+"-save"); err == nil && applied(parse(text)) {
			return true
		}
	}
	return false
}

// program is iptables-legacy or ip6tables-legacy.
func program(b Backend, f Family) string {
	if f == IPv6 {
		return strings.Replace(string(b), "iptables", "ip6tables", 1)
	}
	return string(b)
}

func (a Applier) applyBy(ctx context.Context, b Backend, o Options) (changed bool, err error) {
	for _, f := range a.Families {
		rules := Rules(o, f)
		done, now, err := a.inForce(ctx, b, rules, f)
		switch {
		case err != nil:
			return false, err
		case done:
			continue
		case b == Native:
			_, err = run(ctx, Nft(rules, f), "nft", "-f", "-")
		default:
			_, err = run(ctx, replace(rules, rules, now), program(b, f)+"-restore", "--noflush", "--wait=30")
		}
		if err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// Verify tells whether just these rules are in force, by whichever backend.
func (a Applier) Verify(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	var failed []error
	for _, b := range a.candidates(ctx) {
		missing := false
		for _, f := range a.Families {
			done, _, err := a.inForce(ctx, b, Rules(o, f), f)
			if err != nil {
				failed = append(failed, err)
			}
			missing = missing || !done
		}
		if !missing {
			return nil
		}
	}
	return errors.Join(append([]error{errors.New("the rules are not in force")}, failed...)...)
}

// inForce tells whether one family's rules are in force by a backend, and of iptables what is.
func (a Applier) inForce(ctx context.Context, b Backend, rules []Rule, f Family) (yes bool, now map[string]saved, err error) {
	if b == Native {
		return a.sameNft(ctx, rules, f), nil, nil
	}
	text, err := run(ctx, "", program(b, f)+"-save")
	if err != nil {
		return false, nil, err
	}
	now = parse(text)
	return same(rules, now), now, nil
}

// sameNft compares what is in force with what is asked for.
func (a Applier) sameNft(ctx context.Context, rules []Rule, f Family) bool {
	for _, t := range tables() {
		mine := inTable(rules, t)
		text, err := run(ctx, "", "nft", "--stateless", "--numeric-priority", "list", "table", nftFamily(f), nftTable(t))
		if (err == nil) != (len(mine) > 0) || err == nil && text != nftRules(mine, t, f) {
			return false
		}
	}
	return true
}

func (a Applier) cleanupBy(ctx context.Context, b Backend, o Options) error {
	for _, f := range a.Families {
		if b == Native {
			if _, err := run(ctx, nftRemove(f), "nft", "-f", "-"); err != nil {
				return err
			}
			continue
		}
		text, err := run(ctx, "", program(b, f)+"-save")
		if err != nil {
			return err
		}
		undo := replace(nil, Rules(o, f), parse(text))
		if undo == "" {
			continue
		}
		if _, err := run(ctx, undo, program(b, f)+"-restore", "--noflush", "--wait=30"); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program; an error has what it said.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Text is what Apply would feed to a backend where no rules of ours are: what a dry run prints.
func Text(o Options, b Backend, families []Family) (string, error) {
	if err := o.Validate(); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, f := range families {
		if b == Native {
			out.WriteString(Nft(Rules(o, f), f))
			continue
		}
		fmt.Fprintf(&out, "# %s-restore --noflush\n%s", program(b, f), Restore(Rules(o, f)))
	}
	return out.String(), nil
}
