package command

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"

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
	return &cobra.Command{
		Use:   "cni",
		Short: "Have a node intercept pods' connections: a CNI plugin (on Kubernetes' nodes)",
		Long: `A CNI plugin behind a cluster's own (CNI 0.3.1 to 1.1), called by container runtimes: in the network of pods that the injector has marked
(pilot.cni.enabled) it makes the rules of their istio-init, which they do without. Needs iptables or nft on the node.`,
		Example: `  CNI_COMMAND=VERSION mizzen cni`,
		Args:    cobra.NoArgs,
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
}
