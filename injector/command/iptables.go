package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/injector/iptables"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// Iptables is mizzen iptables.
func Iptables() *cobra.Command {
	var dryRun, cleanup, native, skip, check, asJSON, force bool
	var backend, ipv6, levels, resolv string
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "iptables",
		Short: "Lead this network namespace's traffic through its sidecar (the init container of a pod)",
		Long: `Lead the traffic of this network namespace through its sidecar: the rules of Istio's istio-iptables, with its flags, by
iptables-restore or by nft. Needs the capabilities NET_ADMIN and NET_RAW. Rules that are there already are left alone; others of an
earlier run are replaced in one step. Inbound mode TPROXY is not supported.`,
		Example: `  mizzen iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -b '*' -d 15090,15021,15020
  mizzen iptables -i '*' -b '*' --backend nft --dry-run`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	o := iptables.Bind(fs)
	fs.BoolVarP(&dryRun, "dry-run", "n", false, "print the rules, and change nothing")
	fs.BoolVar(&cleanup, "cleanup", false, "take the rules away")
	fs.StringVar(&backend, "backend", string(iptables.Auto), "auto, iptables, iptables-nft, iptables-legacy or nft; auto: where rules of ours are, else the first that works")
	fs.StringVar(&ipv6, "ipv6", "auto", "rules for IPv6, too: auto (if the pod has an address), on or off")
	fs.StringVar(&resolv, "resolv-conf", "/etc/resolv.conf", "`FILE` that names the servers of --redirect-dns")
	fs.BoolVar(&native, "native-nftables", false, "the same as --backend nft")
	fs.BoolVar(&force, "force-apply", false, "nothing: rules that differ are always replaced")
	fs.BoolVar(&skip, "skip-rule-apply", false, "make no rules: a program of the node does")
	fs.BoolVar(&check, "run-validation", false, "wait until connections are intercepted; as the proxy's user")
	fs.DurationVar(&patience, "probe-timeout", 5*time.Second, "how long to wait for that")
	fs.StringVar(&levels, "log_output_level", "info", "the log level: LEVEL, or default:LEVEL,...")
	fs.BoolVar(&asJSON, "log_as_json", false, "log as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := iptables.Settle(fs, o, os.LookupEnv); err != nil {
			return err
		}
		b, err := iptables.ParseBackend(backend)
		if err != nil {
			return cmdline.Usagef("read --backend: %w", err)
		}
		if err := o.Validate(); err != nil {
			return cmdline.Usagef("read flags: %w", err)
		}
		if native {
			b = iptables.Native
		}
		families, err := families(ipv6)
		if err != nil {
			return err
		}
		a := iptables.Applier{Backend: b, Families: families, Log: agentLogger(cmd.ErrOrStderr(), levels, asJSON)}
		if err := findServers(o, resolv, a.Log); err != nil {
			return err
		}
		switch {
		case dryRun:
			text, err := iptables.Text(*o, b, families)
			if err == nil {
				_, err = cmd.OutOrStdout().Write([]byte(text))
			}
			return err
		case cleanup:
			return a.Cleanup(cmd.Context(), *o)
		case !skip:
			if err := intercept(cmd.Context(), a, *o); err != nil {
				return err
			}
		}
		return intercepted(cmd.Context(), check, *o, patience)
	}
	return cmd
}

// findServers fills in the name servers whose questions are to be captured.
func findServers(o *iptables.Options, resolv string, log *slog.Logger) (err error) {
	if !o.RedirectDNS || o.CaptureAllDNS {
		return nil
	}
	if o.DNSServers, err = nameservers(resolv); err == nil && len(o.DNSServers) == 0 {
		log.Warn("DNS is not captured: no name server is named", "file", resolv)
	}
	return err
}

// intercept puts the rules in force.
func intercept(ctx context.Context, a iptables.Applier, o iptables.Options) error {
	used, changed, err := a.Apply(ctx, o)
	if err != nil {
		return err
	}
	a.Log.Info("traffic goes through the sidecar", "backend", used, "changed", changed, "families", len(a.Families))
	return nil
}

// intercepted checks that rules are in force, if that is wanted.
func intercepted(ctx context.Context, wanted bool, o iptables.Options, within time.Duration) error {
	if !wanted {
		return nil
	}
	addresses, err := iptables.Addresses()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			return iptables.Check(ctx, o, a)
		}
	}
	return errors.New("check interception: the pod has no address")
}

// families that this network namespace needs rules for.
func families(ipv6 string) ([]iptables.Family, error) {
	switch ipv6 {
	case "on":
		return []iptables.Family{iptables.IPv4, iptables.IPv6}, nil
	case "off":
		return []iptables.Family{iptables.IPv4}, nil
	case "auto":
	default:
		return nil, cmdline.Usagef("read --ipv6: %q is neither auto, on nor off", ipv6)
	}
	all, err := iptables.Addresses()
	if err != nil {
		return nil, err
	}
	return iptables.Families(all), nil
}

// nameservers of a resolv.conf; none if there is no such file.
func nameservers(file string) ([]netip.Addr, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read name servers: %w", err)
	}
	var out []netip.Addr
	for _, line := range strings.Split(string(raw), "\n") {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "nameserver" {
			if a, err := netip.ParseAddr(w[1]); err == nil {
				out = append(out, a)
			}
		}
	}
	return out, nil
}
