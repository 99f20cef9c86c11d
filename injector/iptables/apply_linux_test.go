package iptables

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// inside runs f on a thread with a network namespace of its own, which the programs that it starts share. It ends with the thread.
func inside(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		envoytest.Missing(t, fmt.Errorf("network namespaces are not allowed here: %w", err))
	}
}

// TestApply: every backend takes the rules of every case of the corpus, knows them again, replaces others, and cleans up.
func TestApply(t *testing.T) {
	var all []Options
	for _, name := range []string{"injected", "ranges", "users", "interfaces", "drop-invalid", "dns", "dns-all", "groups", "ports-outbound", "virt-ranges"} {
		raw, err := os.ReadFile("testdata/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		_, args, _ := strings.Cut(string(raw), "-- args --\n")
		args, _, _ = strings.Cut(args, "-- ")
		o, err := parsed(args)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, o)
	}
	for _, b := range Backends() {
		t.Run(string(b), func(t *testing.T) {
			if _, err := exec.LookPath(string(b)); err != nil {
				envoytest.Missing(t, err)
			}
			inside(t, func() {
				a := Applier{Backend: b, Families: []Family{IPv4, IPv6}, Log: slog.New(slog.DiscardHandler)}
				before := state(b)
				for i, o := range all {
					for _, want := range []bool{true, false} {
						used, changed, err := a.Apply(context.Background(), o)
						if err != nil || used != b || changed != want {
							t.Errorf("case %d: used %s, changed %v (want %v), %v\n%s", i, used, changed, want, err, state(b))
						}
					}
					now := state(b)
					if i%3 == 0 || o.ExcludeInterfaces+o.VirtualInterfaces != "" { // a fresh start comes to the same as a replacement
						if err := a.Cleanup(context.Background(), o); err != nil {
							t.Error(err)
						}
						if left := state(b); left != before {
							t.Errorf("case %d left, of %q:\n%s", i, before, left)
						}
						if _, _, err := a.Apply(context.Background(), o); err != nil || state(b) != now {
							t.Errorf("case %d: %v, from nothing\n%s\nfrom another\n%s", i, err, state(b), now)
						}
						_ = a.Cleanup(context.Background(), o)
					}
				}
			})
		})
	}
}

// state is what a backend says of our rules, both families, without the chains of everybody that are empty.
func state(b Backend) string {
	var out strings.Builder
	for _, c := range [][]string{{string(b) + "-save"}, {program(b, IPv6) + "-save"}} {
		if b == Native {
			c = []string{"nft", "--stateless", "list", "ruleset"}
		}
		text, err := run(context.Background(), "", c[0], c[1:]...)
		if err != nil {
			return err.Error()
		}
		for _, l := range strings.Split(text, "\n") {
			if b == Native || strings.HasPrefix(l, "-A") || strings.HasPrefix(l, ":"+prefix) {
				out.WriteString(l + "\n")
			}
		}
	}
	return out.String()
}

// TestAuto: rules are replaced where they are; a backend that does not work is passed over.
func TestAuto(t *testing.T) {
	for _, b := range []Backend{OnLegacy, Native} {
		if _, err := exec.LookPath(string(b)); err != nil {
			envoytest.Missing(t, err)
		}
		inside(t, func() {
			ctx, log := context.Background(), slog.New(slog.DiscardHandler)
			o := Defaults()
			if _, _, err := (Applier{b, []Family{IPv4}, log}).Apply(ctx, o); err != nil {
				t.Error(err)
			}
			auto := Applier{Auto, []Family{IPv4}, log}
			o.OutboundRanges = "*"
			if used, changed, err := auto.Apply(ctx, o); used != b || !changed || err != nil {
				t.Errorf("%s holds rules, but %s was used (changed %v), %v", b, used, changed, err)
			}
			if err := auto.Cleanup(ctx, o); err != nil || auto.holds(ctx, b) {
				t.Errorf("%s still holds rules: %v", b, err)
			}
		})
	}
}

// TestCheck: whether somebody else's rules are in force is seen by a connection of the proxy's user, here root.
func TestCheck(t *testing.T) {
	inside(t, func() {
		for _, c := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", "10.9.9.9/32", "dev", "lo"}} {
			if _, err := run(context.Background(), "", "ip", c...); err != nil {
				t.Error(err)
				return
			}
		}
		o := Defaults()
		o.ProxyUID, o.ProxyGID = "0", ""
		pod := netip.MustParseAddr("10.9.9.9")
		soon, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if err := Check(soon, o, pod); err == nil {
			t.Error("without rules connections count as intercepted")
		}
		a := Applier{Backend: Default, Families: []Family{IPv4}, Log: slog.New(slog.DiscardHandler)}
		if _, _, err := a.Apply(context.Background(), o); err != nil {
			t.Error(err)
		}
		later, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := Check(later, o, pod); err != nil {
			t.Error(err)
		}
	})
}
