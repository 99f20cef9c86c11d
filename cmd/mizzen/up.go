package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/localmesh"
)

func newUpCommand() *cobra.Command {
	var o localmesh.Options
	var filters string
	cmd := &cobra.Command{
		Use:   "up -f PATH... [-- COMMAND ARG...]",
		Short: "Run a mesh on this machine: real Envoys, no cluster",
		Long: `Run a mesh on this machine from ordinary Kubernetes and Istio YAML: the control plane, a workload per replica, a real Envoy
before each, and an Envoy per gateway. It stays until Ctrl-C and leaves nothing behind. Files are watched: an edit is pushed.

A workload's application is the command line of annotation mizzen.dev/exec on the pod template, otherwise a stand-in that says
who it is and calls the upstreams of annotation mizzen.dev/calls.

With -- COMMAND it runs the command once every proxy has acknowledged its configuration, with MIZZEN_GATEWAY and MIZZEN_STATE
set, and exits with its status.`,
		Example: `  mizzen up -f examples/shop
  mizzen up -f examples/shop -- sh -c 'curl -fs $MIZZEN_GATEWAY/'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			more, command := splitAtDash(cmd, args)
			o.Files = append(o.Files, more...)
			switch {
			case len(o.Files) == 0:
				return usagef("read arguments: no -f PATH was given; see mizzen up -h")
			case o.Isolation != localmesh.IsolationLoopback && o.Isolation != localmesh.IsolationNetns:
				return usagef("read --isolation: %q is neither loopback nor netns", o.Isolation)
			}
			o.PortsFixed = cmd.Flags().Changed("gateway-port") || cmd.Flags().Changed("gateway-tls-port")
			var err error
			if o.Filters, err = filterHost(filters); err != nil {
				return err
			}
			o.Command = command
			return up(cmd, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.Files, "filename", "f", nil, "`PATH` of a file, a directory or - (standard input); repeat it")
	f.StringVarP(&o.Namespace, "namespace", "n", "default", "namespace of objects that name none")
	f.StringVar(&filters, "filters", "", "what runs the policies in Envoy: dynamic-module (the default), wasm, or native, Envoy's own filters as far as they go")
	f.StringVar(&o.Isolation, "isolation", localmesh.IsolationLoopback, "how workloads are kept apart: loopback, or netns, a network namespace for each, in which all connections are intercepted (Linux, root)")
	f.Uint32Var(&o.GatewayPort, "gateway-port", 8080, "where a gateway's port 80 is reached; another is chosen if the default is taken")
	f.Uint32Var(&o.GatewayTLSPort, "gateway-tls-port", 8443, "where a gateway's port 443 is reached")
	f.StringVar(&o.Envoy, "envoy", "", "Envoy `FILE`; default: ENVOY_BIN, .cache/envoy, PATH")
	f.StringVar(&o.Redis, "ratelimit-redis", "", "count limits of scope global in Redis at `ADDR[,ADDR...]`; default: in memory")
	f.DurationVar(&o.CertTTL, "cert-ttl", time.Hour, "how long a workload's certificate lives; it is renewed at half of that")
	f.DurationVar(&o.RootTTL, "root-ttl", 10*365*24*time.Hour, "how long the root that signs them lives; the next is made when a fifth of it is left")
	f.StringVar(&o.ReadyFile, "ready-file", "", "`FILE` to write, as JSON, when every proxy has acknowledged, and whenever the set changes")
	f.DurationVar(&o.ReadyTimeout, "ready-timeout", time.Minute, "how long the proxies may take to acknowledge")
	return cmd
}

// filterHost reads --filters; "" is left to others. The golang library is among the hosts where also says so: a stock Envoy, which
// mizzen up starts, cannot run it.
func filterHost(name string, also ...mesh.FilterHost) (mesh.FilterHost, error) {
	known := append([]mesh.FilterHost{mesh.HostModule, mesh.HostWasm, mesh.HostNative}, also...)
	h := mesh.FilterHost(name)
	if h == "" || slices.Contains(known, h) {
		return h, nil
	}
	var names []string
	for _, k := range known {
		names = append(names, string(k))
	}
	return "", usagef("read --filters: %q is none of %s", name, strings.Join(names, ", "))
}

// splitAtDash parts what stands before "--" from what stands after it.
func splitAtDash(cmd *cobra.Command, args []string) (before, after []string) {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		return args[:n], args[n:]
	}
	return args, nil
}

func up(cmd *cobra.Command, o localmesh.Options) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own executable: %w", err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A reader of our output that goes away must not end us before we have cleaned up. Nobody reads the channel.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	o.Executable, o.Env = executable, os.Environ()
	o.Stdin, o.Stdout, o.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	o.Log = slog.New(slog.NewTextHandler(o.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	status, err := localmesh.Run(ctx, o)
	if err != nil {
		return err
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}
