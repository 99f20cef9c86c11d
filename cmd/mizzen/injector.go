package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mizzen-mesh/mizzen/injector/early"
	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/settings"
	"github.com/mizzen-mesh/mizzen/injector/webhook"
	"github.com/mizzen-mesh/mizzen/internal/webhookcert"
)

func newInjectorCommand() *cobra.Command {
	var p policyFlags
	var o webhook.Options
	var level, cert, key string
	cmd := &cobra.Command{
		Use:   "injector",
		Short: "Serve the webhook that puts the sidecar into new pods",
		Long: `Serve the mutating webhook that puts the sidecar into new pods, https on --addr at /inject; metrics and /ready on --http-addr.

Settings are read live from the cluster, by --kubeconfig or as the pod's service account: ConfigMaps istio-sidecar-injector and istio (of
a revision: with its name behind), ProxyConfigs, and the nodes, which tell whether there are native sidecars. A mistake in them is
logged, and the last good ones stay in force. With files they come from there, and no cluster is asked. The certificate is made and
renewed here, and the webhook configuration mizzen-sidecar-injector made to trust it, unless --tls-cert says otherwise.

Every flag can be given as an environment variable: MIZZEN_ADDR, MIZZEN_REVISION, MIZZEN_NAMESPACE and so on. SIGTERM drains.`,
		Example: `  mizzen injector --revision canary
  mizzen injector --tls-cert tls.crt --tls-key tls.key --kubeconfig ~/.kube/config`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flagsFromEnv(cmd, os.Getenv, "addr", "http-addr", "tls-cert", "tls-key", "drain", "log-level", "revision", "namespace"); err != nil {
				return err
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usagef("read --log-level: %w", err)
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l}))
			if err := injectorSettings(&o, &p, cert, key); err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(400) // the heap is a few MB, and who asks meanwhile waits
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return webhook.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Addr, "addr", ":15017", "`HOST:PORT` of the webhook")
	f.StringVar(&o.HTTPAddr, "http-addr", ":15014", "`HOST:PORT` of /metrics and /ready")
	f.StringVar(&cert, "tls-cert", "", "`FILE` of the webhook's certificate, which is read again when it changes")
	f.StringVar(&key, "tls-key", "", "`FILE` of its key")
	f.DurationVar(&o.Drain, "drain", 5*time.Second, "how long to serve after SIGTERM, until API servers ask others")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	p.add(cmd, "namespace")
	return cmd
}

// injectorSettings says where policies and certificates come from: files, or the cluster.
func injectorSettings(o *webhook.Options, p *policyFlags, cert, key string) error {
	if (cert == "") != (key == "") {
		return usagef("read arguments: --tls-cert and --tls-key belong together")
	}
	files := p.files != (settings.Files{}) && !p.cluster.Given()
	if files && cert == "" {
		return usagef("read arguments: without a cluster the certificate is that of --tls-cert and --tls-key")
	}
	if cert != "" {
		o.TLS = fileCertificate(cert, key)
	}
	if files {
		policy, err := p.fromFiles()
		if err != nil {
			return err
		}
		o.Watch = func(ctx context.Context, use func(*inject.Policy, error)) error {
			use(policy, nil)
			<-ctx.Done()
			return nil
		}
		return nil
	}
	c, err := p.source(o.Log)
	if err != nil {
		return err
	}
	o.Watch = c.Watch
	if cert == "" {
		told := make(chan struct{}, 1)
		keeper := webhookcert.New(webhookcert.Options{
			Client: c.Client, Namespace: c.Namespace, Secret: c.Named("mizzen-webhook-ca"), Log: o.Log,
			DNSNames: []string{c.Named("mizzen-injector") + "." + c.Namespace + ".svc"}, Mutating: c.Webhooks(),
			Announced: func() {
				select {
				case told <- struct{}{}:
				default:
				}
			},
		})
		o.TLS, o.Trusted = keeper.TLS(), keeper.Ready()
		o.Certificates = func(ctx context.Context) error {
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return keeper.Run(ctx) })
			g.Go(func() error {
				return early.Pods{Client: c.Client, Namespace: c.Namespace, Log: o.Log}.Run(ctx, told)
			})
			return g.Wait()
		}
	}
	return nil
}

// fileCertificate serves what the files hold at each handshake, so that whoever renews them need not tell.
func fileCertificate(cert, key string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read the webhook's certificate: %w", err)
		}
		return &c, nil
	}}
}
