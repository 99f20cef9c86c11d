package command

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/injector/agent"
	"github.com/mizzen-mesh/mizzen/injector/iptables"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// Proxy is mizzen proxy.
func Proxy() *cobra.Command {
	o := agent.Options{Getenv: os.Getenv, Environ: os.Environ, Addresses: iptables.Addresses, Paths: agent.DefaultPaths()}
	var levels string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "proxy sidecar|router",
		Short: "Run an Envoy in a pod, with the agent beside it (the sidecar container, or a gateway's)",
		Long: `Run an Envoy as the proxy of a pod, and the agent beside it: its bootstrap from the downward API and PROXY_CONFIG, its identity by the
token of the service account, its configuration from the control plane (the last that it accepted, while the control plane is away),
readiness on :15020/healthz/ready and through Envoy on :15021, the application's probes on :15020/app-health/..., merged metrics on
:15020/stats/prometheus. SIGTERM, or POST to :15020/quitquitquit from within the pod, has connections end first.

What it is to do stands in variables, as with Istio's pilot-agent: POD_NAME, POD_NAMESPACE, INSTANCE_IP, SERVICE_ACCOUNT,
PROXY_CONFIG, CA_ADDR, ISTIO_META_*, ISTIO_METAJSON_*, ISTIO_CPU_LIMIT, ISTIO_KUBE_APP_PROBERS, ISTIO_PROMETHEUS_ANNOTATIONS,
EXIT_ON_ZERO_ACTIVE_CONNECTIONS, MINIMUM_DRAIN_DURATION, SECRET_TTL, ISTIO_BOOTSTRAP_OVERRIDE.
Every flag that names a file or a directory can be given as an environment variable: MIZZEN_ENVOY, MIZZEN_TOKEN_FILE and so on.`,
		Example: `  mizzen proxy sidecar
  POD_NAMESPACE=default PROXY_CONFIG='{"discoveryAddress": "controlplane:15010"}' mizzen proxy sidecar --envoy /usr/local/bin/envoy`,
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"sidecar", "router"},
	}
	f, p := cmd.Flags(), &o.Paths
	paths := []struct {
		into       *string
		name, what string
	}{
		{&p.Envoy, "envoy", "Envoy's program; looked for on PATH, too"},
		{&p.Token, "token-file", "`FILE` with the token of the service account"},
		{&p.Root, "root-cert", "`FILE` with the roots that verify the control plane"},
		{&p.PodInfo, "pod-info", "`DIR` with the pod's labels and annotations"},
		{&p.Config, "config-dir", "`DIR` for the bootstrap, sockets and keys"},
		{&p.Data, "data-dir", "`DIR` for the last configuration; one that outlives the container"},
		{&p.Sockets, "socket-dir", "`DIR` for the socket of certificates; default: --config-dir if it is not there"},
		{&p.Module, "module-dir", "`DIR` with libmizzen.so"},
	}
	var fromEnv []string
	for _, x := range paths {
		f.StringVar(x.into, x.name, *x.into, x.what)
		fromEnv = append(fromEnv, x.name)
	}
	f.StringVar(&o.Domain, "domain", "", "`NAME` at the end of the node id; default: the namespace's in svc.cluster.local")
	f.StringVar(&o.EnvoyLevel, "proxyLogLevel", "warning", "Envoy's log level")
	f.StringVar(&o.EnvoyComponents, "proxyComponentLogLevel", "", "Envoy's log levels by component: http:debug,...")
	f.StringVar(&levels, "log_output_level", "info", "the agent's log level: LEVEL, or default:LEVEL,...")
	f.BoolVar(&asJSON, "log_as_json", false, "log as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := cmdline.FlagsFromEnv(cmd, os.Getenv, fromEnv...); err != nil {
			return err
		}
		o.Gateway = len(args) > 0 && args[0] == "router"
		o.Log = agentLogger(cmd.OutOrStdout(), levels, asJSON)
		p.Override = os.Getenv("ISTIO_BOOTSTRAP_OVERRIDE")
		if _, err := os.Stat(p.Envoy); err != nil {
			if found, err := exec.LookPath("envoy"); err == nil {
				p.Envoy = found
			}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return agent.Run(ctx, o)
	}
	return cmd
}

// agentLogger reads Istio's levels, "scope:level,...": that of scope default or without a scope counts. Unknown ones are info.
func agentLogger(w io.Writer, levels string, asJSON bool) *slog.Logger {
	level := slog.LevelInfo
	for _, x := range strings.Split(levels, ",") {
		scope, name, ok := strings.Cut(strings.TrimSpace(x), ":")
		if !ok {
			scope, name = "default", scope
		}
		if scope != "default" && scope != "all" {
			continue
		}
		if name == "warning" {
			name = "warn"
		}
		if name == "none" || name == "fatal" {
			name = "error+4"
		}
		_ = level.UnmarshalText([]byte(name))
	}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
