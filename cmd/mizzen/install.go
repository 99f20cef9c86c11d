package main

import (
	"fmt"
	"log/slog"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"helm.sh/helm/v3/pkg/cli/values"
	"helm.sh/helm/v3/pkg/getter"

	"github.com/mizzen-mesh/mizzen/charts"
	"github.com/mizzen-mesh/mizzen/installer"
)

func newInstallCommand() *cobra.Command {
	var o installer.Options
	var v values.Options
	var profile string
	var wait, dry, verbose bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "install [--profile PROFILE] [--set KEY=VALUE]... [-f VALUES]...",
		Short: "Install Mizzen into a Kubernetes cluster, or upgrade it",
		Long: `Install Mizzen into a Kubernetes cluster, or bring an installation up to date: control plane, injector, gateways, kinds and webhooks,
as the Helm release "mizzen" (with --revision, "mizzen-REVISION") of the chart in charts/mizzen. Install again to change values: those
that are not given are the profile's again.

Profiles are default (an ingress gateway, autoscaling), demo (both gateways, small) and minimal (no gateway). With --revision a second control
plane stands beside the first; namespaces and pods labelled istio.io/rev=REVISION are its own.`,
		Example: `  mizzen install
  mizzen install --profile demo --set meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY
  mizzen install --revision canary
  mizzen install --dry-run --set validation.failurePolicy=Fail | kubectl apply --server-side -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(append(charts.Profiles(), ""), profile) {
				return usagef("read --profile: %q is none of %s", profile, strings.Join(charts.Profiles(), ", "))
			}
			var err error
			if o.Values, err = v.MergeValues(getter.Providers{}); err != nil {
				return fmt.Errorf("read values: %w", err)
			}
			if profile != "" {
				o.Values["profile"] = profile
			}
			if wait {
				o.Wait = timeout
			}
			o.Out, o.Warnings, o.Log = cmd.OutOrStdout(), cmd.ErrOrStderr(), helmLog(cmd, verbose)
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if dry {
				return installer.Render(ctx, o)
			}
			return installer.Install(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&profile, "profile", "", "default, demo or minimal")
	f.StringArrayVar(&v.Values, "set", nil, "a value, `KEY=VALUE[,KEY=VALUE...]`, as helm's --set; charts/mizzen/values.yaml lists all")
	f.StringArrayVarP(&v.ValueFiles, "values", "f", nil, "`FILE` of values; a later one wins")
	f.BoolVar(&wait, "wait", true, "wait until every deployment is available")
	f.DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	f.BoolVar(&dry, "dry-run", false, "print what would be applied, and ask no cluster")
	addInstallation(cmd, &o, &verbose)
	return cmd
}

func newUninstallCommand() *cobra.Command {
	var o installer.Options
	var purge, verbose bool
	cmd := &cobra.Command{
		Use:   "uninstall [--revision REVISION] [--purge]",
		Short: "Take Mizzen out of a Kubernetes cluster",
		Long: `Take an installation out of a Kubernetes cluster. Pods that have a sidecar keep it until they are made anew: restart them
first, without the label of their namespace. Objects of Istio's kinds and the certificate authority stay, so that the next installation
goes on where this one was; --purge deletes them, too, with the kinds themselves, and the namespace, if it was made for the installation.`,
		Example: `  mizzen uninstall --revision canary
  mizzen uninstall --purge`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Log = cmd.OutOrStdout(), helmLog(cmd, verbose)
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return installer.Uninstall(ctx, o, purge)
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "leave nothing behind, not even what users wrote")
	addInstallation(cmd, &o, &verbose)
	return cmd
}

// addInstallation adds the flags that say which installation, in which cluster.
func addInstallation(cmd *cobra.Command, o *installer.Options, verbose *bool) {
	f := cmd.Flags()
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "`FILE` that says how to reach the cluster; default: kubectl's")
	f.StringVar(&o.Context, "context", "", "`NAME` of a context in it")
	f.StringVarP(&o.Namespace, "namespace", "n", "istio-system", "`NAME` of the installation's namespace")
	f.StringVar(&o.Revision, "revision", "", "`NAME` of this control plane among several")
	f.BoolVar(verbose, "verbose", false, "tell what Helm does, on standard error")
}

// helmLog is for Helm's words, which are many.
func helmLog(cmd *cobra.Command, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
}
