package command

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/injector/cni"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// Args are the arguments of a program that was called as name: under the name of the CNI plugin, which runtimes call without any, it is that.
func Args(name string, args []string) []string {
	if base := filepath.Base(name); len(args) == 0 && (base == cni.Name || strings.HasPrefix(base, cni.Name+"-")) {
		return []string{"cni"}
	}
	return args
}

// CNI is mizzen cni.
func CNI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cni",
		Short: "Have a node intercept pods' connections: a CNI plugin (on Kubernetes' nodes)",
		Long: `A CNI plugin behind a cluster's own (CNI 0.3.1 to 1.1), called by container runtimes: in the network of pods that the injector has marked
(pilot.cni.enabled) it makes the rules of their istio-init, which they do without. Needs iptables or nft on the node.`,
		Example: `  CNI_COMMAND=VERSION mizzen cni
  mizzen cni status`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("CNI_COMMAND") == "" {
				return cmd.Help()
			}
			if status := cni.Plugin(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))); status != 0 {
				return cmdline.Status(status)
			}
			return nil
		},
	}
	cmd.AddCommand(cniInstall(), cniStatus(), cniRemove())
	return cmd
}

// cniFlags are those of all: where the node keeps what.
func cniFlags(cmd *cobra.Command) *cni.Options {
	o := &cni.Options{}
	cmd.Flags().StringVar(&o.Plugin, "plugin", cni.Name, "`NAME` of the plugin on the node")
	cmd.Flags().StringVar(&o.ConfDir, "conf-dir", "/etc/cni/net.d", "the node's `DIR` of CNI configurations")
	cmd.Flags().StringVar(&o.BinDir, "bin-dir", "/opt/cni/bin", "the node's `DIR` of CNI plugins")
	return o
}

func cniInstall() *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Bring the plugin onto the node and keep it there (the process of the DaemonSet mizzen-cni)",
		Long: `Copy this program to the node as a CNI plugin, write it behind the others of the node's CNI configuration, and keep it there, whoever writes that
anew, until the end. It is taken away again if the DaemonSet has been deleted by then; else it stays for the next pod of it. POD_NAMESPACE, SERVICE_ACCOUNT
and NODE_NAME say where this runs.`,
		Example: `  mizzen cni install --conf-dir /etc/cni/net.d --bin-dir /opt/cni/bin`,
		Args:    cobra.NoArgs,
	}
	o := cniFlags(cmd)
	cmd.Flags().StringVar(&o.DaemonSet, "daemonset", cni.Name, "`NAME` of the DaemonSet that this belongs to")
	cmd.Flags().StringSliceVar(&o.ExcludeNamespaces, "exclude-namespaces", nil, "`NAMESPACES` whose pods are left alone, besides this one's")
	cmd.Flags().BoolVar(&o.Repair, "repair", false, "delete pods that started before the plugin was there, so that others are made")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.Log, err = logger(cmd.ErrOrStderr(), level); err != nil {
			return err
		}
		if o.Program, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.Namespace, o.ServiceAccount, o.Node = os.Getenv("POD_NAMESPACE"), os.Getenv("SERVICE_ACCOUNT"), os.Getenv("NODE_NAME")
		if o.Namespace == "" || o.ServiceAccount == "" || o.Node == "" {
			return cmdline.Usagef("read environment: POD_NAMESPACE, SERVICE_ACCOUNT and NODE_NAME have to be set")
		}
		o.ExcludeNamespaces = append(o.ExcludeNamespaces, o.Namespace)
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return cni.Install(ctx, *o)
	}
	return cmd
}

func cniStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Tell whether the plugin is in place on this node",
		Example: "  mizzen cni status",
		Args:    cobra.NoArgs,
	}
	o := cniFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Log = slog.New(slog.DiscardHandler)
		where, err := cni.Ready(*o)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is in %s\n", o.Plugin, where)
		}
		return err
	}
	return cmd
}

func cniRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove",
		Short:   "Take the plugin off this node, where the DaemonSet went without doing so",
		Example: "  mizzen cni remove --conf-dir /etc/cni/net.d --bin-dir /opt/cni/bin",
		Args:    cobra.NoArgs,
	}
	o := cniFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		o.Log = slog.New(slog.DiscardHandler)
		return cni.Remove(*o)
	}
	return cmd
}
