package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/ratelimit"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
)

func newRatelimitCommand() *cobra.Command {
	var o ratelimit.Options
	var paths []string
	var cluster clusterFlags
	var level, redis, algorithm string
	var envoyproxy bool
	cmd := &cobra.Command{
		Use:   "ratelimit [--config PATH...]",
		Short: "Serve limits that hold over all proxies together",
		Long: `Serve limits that hold over all proxies together, by Envoy's rate-limit service protocol (gRPC): the limits with scope: global of
RateLimit resources, in files or, without --config, in a Kubernetes cluster; they are watched. Counts are kept in memory, or in Redis, so that several of these servers count
together. SIGTERM drains.

While Redis is away, --on-error says what holds: local (this server counts for itself), allow or deny. Several addresses are those of a
Redis Cluster; a single one may be a redis:// or rediss:// URL.

Every flag can be given as an environment variable: MIZZEN_CONFIG (several paths are separated by ":"), MIZZEN_REDIS,
MIZZEN_GRPC_ADDR, MIZZEN_HTTP_ADDR, MIZZEN_ON_ERROR and so on.`,
		Example: `  mizzen ratelimit --config limits.yaml
  mizzen ratelimit --config limits.yaml --redis 127.0.0.1:6379
  mizzen ratelimit --kubeconfig ~/.kube/config`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flagsFromEnv(cmd, os.Getenv, append(clusterFlagNames(), "config", "grpc-addr", "http-addr", "redis", "redis-timeout", "on-error",
				"algorithm", "max-keys", "domain", "log-level")...); err != nil {
				return err
			}
			k, err := cluster.of(paths)
			if err != nil {
				return err
			}
			if envoyproxy {
				if k != nil {
					return usagef("read --print-envoyproxy-config: it is for files: --config PATH")
				}
				set, _, err := dir.Load(paths)
				if err != nil {
					return fmt.Errorf("read configuration: %w", err)
				}
				return ratelimit.WriteEnvoyproxyConfig(cmd.OutOrStdout(), set, o.Domain)
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("read --log-level: %w", err)
			}
			switch algorithm {
			case "gcra":
			case "slidingWindow":
				o.Sliding = true
			default:
				return usagef("read --algorithm: %q is neither gcra nor slidingWindow", algorithm)
			}
			if redis != "" {
				o.Redis.Addrs = strings.Split(redis, ",")
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l}))
			o.Watch = watchLimits(k, paths, o.Log)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return ratelimit.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&paths, "config", nil, "`PATH` of a file or directory of YAML; repeat it, a later one wins on the same object")
	f.StringVar(&o.Addr, "grpc-addr", "127.0.0.1:8081", "where proxies ask, in plaintext")
	f.StringVar(&o.HTTPAddr, "http-addr", "127.0.0.1:8082", "where metrics and readiness are served")
	f.StringVar(&redis, "redis", "", "count in Redis at `ADDR[,ADDR...]`; default: in memory")
	f.DurationVar(&o.Redis.Timeout, "redis-timeout", ratelimit.DefaultRedisTimeout, "how long to wait for Redis")
	f.StringVar(&o.OnError, "on-error", "local", "while Redis is away: local, allow or deny")
	f.StringVar(&algorithm, "algorithm", "gcra", "of limits that name none: gcra, or slidingWindow (which has no burst)")
	f.IntVar(&o.MaxKeys, "max-keys", ratelimit.DefaultMaxKeys, "how many keys to remember in memory")
	f.StringVar(&o.Domain, "domain", ratelimit.DefaultDomain, "the domain to answer for; requests in others pass")
	f.BoolVar(&envoyproxy, "print-envoyproxy-config", false, "print the limits as configuration of envoyproxy/ratelimit, and end")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cluster.add(cmd)
	return cmd
}

// watchLimits reads limits from a cluster, if there is one, else from files.
func watchLimits(k *run.Cluster, paths []string, log *slog.Logger) func(context.Context, func(istio.Set, istio.Diagnostics)) error {
	return func(ctx context.Context, publish func(istio.Set, istio.Diagnostics)) error {
		if k == nil {
			return dir.Watch(ctx, paths, log, publish)
		}
		return kube.Watch(ctx, kube.Options{Config: k.Config, Namespace: k.Namespace, Revision: k.Revision, Kinds: []string{"RateLimit"}, Log: log}, publish)
	}
}
