package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

func newControlplaneCommand() *cobra.Command {
	var o run.Options
	var level, filters, services string
	var id run.Identity
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use:   "controlplane [--config PATH...]",
		Short: "Serve xDS to proxies from Istio YAML or a Kubernetes cluster, and watch it",
		Long: `Serve xDS to proxies from Istio and Kubernetes YAML. The files are watched: an edit is compiled and pushed to the proxies that
it concerns. A mistake is logged with file and line and never stops the rest. SIGTERM drains.

Without --config it reads a Kubernetes cluster: the one of --kubeconfig and --context, or the one that it runs in.

Limits with scope: global of RateLimit resources are counted by a rate-limit service (see mizzen ratelimit): --ratelimit names
it; without it the Service ratelimit of the root namespace, if there is one.

Every flag can be given as an environment variable: MIZZEN_CONFIG (several paths are separated by ":"), MIZZEN_XDS_ADDR,
MIZZEN_HTTP_ADDR, MIZZEN_LOG_LEVEL, MIZZEN_FILTERS, MIZZEN_WASM, MIZZEN_CA_DIR and so on.

With --ca-dir or --ca-files, and always in a cluster, it is the mesh's certificate authority too, by Istio's API, on --secure-addr. There a workload proves who
it is by its certificate or a service account token, and its proxy gets what a proxy of that namespace and account may have.`,
		Example: `  mizzen controlplane --config istio/ --config apps.yaml
  mizzen controlplane --kubeconfig ~/.kube/config
  curl http://127.0.0.1:15014/debug/syncz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flagsFromEnv(cmd, os.Getenv, "config", "xds-addr", "http-addr", "log-level", "filters", "wasm"); err != nil {
				return err
			}
			if err := flagsFromEnv(cmd, os.Getenv, append(append(identityFlags(), clusterFlagNames()...), "ratelimit", "ratelimit-timeout", "state-dir", "module-dir", "module-addr", "insecure-registries", "service-cidr")...); err != nil {
				return err
			}
			if _, _, err := net.SplitHostPort(o.RateLimit); err != nil && o.RateLimit != "" && o.RateLimit != "off" {
				return usagef("read --ratelimit: %v; write HOST:PORT, or off", err)
			}
			var err error
			if o.Cluster, err = cluster.of(o.Paths); err != nil {
				return err
			}
			if o.ServiceRange, err = serviceRange(services); err != nil {
				return err
			}
			if o.Filters, err = filterHost(filters); err != nil {
				return err
			}
			if o.Identity, err = identityOf(id, o.Cluster); err != nil {
				return err
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("read --log-level: %w", err)
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l}))
			klog.SetSlogLogger(o.Log)
			o.Version = cmd.Root().Version
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run.Run(ctx, o)
		},
	}
	cmd.Flags().StringArrayVar(&o.Paths, "config", nil, "`PATH` of a file or directory of YAML; repeat it, a later one wins on the same object")
	cmd.Flags().StringVar(&o.StateDir, "state-dir", "", "`DIR` that keeps each object's last good state over restarts; default: it is kept for as long as the process runs")
	cmd.Flags().StringVar(&o.XDSAddr, "xds-addr", "127.0.0.1:15010", "where proxies connect, in plaintext")
	cmd.Flags().StringVar(&o.HTTPAddr, "http-addr", "127.0.0.1:15014", "where metrics, debug pages and readiness are served")
	cmd.Flags().StringVar(&o.RateLimit, "ratelimit", "", "`HOST:PORT` of the rate-limit service that proxies ask, or off; default: Service ratelimit of the root namespace")
	cmd.Flags().DurationVar(&o.RateLimitTimeout, "ratelimit-timeout", ratelimit.DefaultTimeout, "how long a proxy waits for the rate-limit service")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&filters, "filters", "", "what runs the policies in proxies whose node metadata MIZZEN_FILTERS does not say: dynamic-module, wasm or native (the default)")
	cmd.Flags().StringVar(&o.Wasm, "wasm", mesh.DefaultWasm, "where these proxies find mizzen.wasm, a `FILE` of theirs")
	cmd.Flags().StringVar(&o.Modules, "module-dir", "", "`DIR` where the modules of WasmPlugins are kept; default: one in the user's cache")
	cmd.Flags().StringVar(&o.ModuleServer, "module-addr", "", "`HOST:PORT` where proxies fetch these, unless metadata MIZZEN_MODULES says where they see --module-dir; default: --http-addr")
	cmd.Flags().StringVar(&services, "service-cidr", "", "IPv4 `CIDR` in which Services without a cluster IP are given one; default: they have none")
	cmd.Flags().StringSliceVar(&o.Insecure, "insecure-registries", nil, "`HOSTS` of registries that are asked in plaintext, host or host:port")
	addIdentityFlags(cmd, &id)
	cluster.add(cmd)
	return cmd
}

// serviceRange reads --service-cidr.
func serviceRange(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() || p.Bits() > 22 {
		return p, usagef("read --service-cidr: %q is no range of at least 1024 IPv4 addresses, such as 10.96.0.0/16", text)
	}
	return p, nil
}

// flagsFromEnv fills the named flags that were not given from MIZZEN_* variables.
func flagsFromEnv(cmd *cobra.Command, getenv func(string) string, names ...string) error {
	return cmdline.FlagsFromEnv(cmd, getenv, names...)
}
