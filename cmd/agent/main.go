// Command agent is the small binary of users' pods: what runs beside an Envoy, and before it. It calls itself mizzen, and its subcommands
// are those of cmd/mizzen under the same names; it has none of the others, and hence none of their weight.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/injector/command"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

func main() {
	root := &cobra.Command{
		Use:   "mizzen",
		Short: "What runs in a pod of a mesh: the agent beside Envoy, the rules of interception, the module, a stand-in application",
		Example: `  mizzen proxy sidecar
  mizzen iptables -i '*' -b '*' --dry-run`,
	}
	version := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  mizzen version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "mizzen", cmdline.Version()) },
	}
	cmdline.Prepare(root, append(command.All(), version)...)
	os.Exit(cmdline.Execute(context.Background(), root, command.Args(os.Args[0], os.Args[1:]), os.Stdin, os.Stdout, os.Stderr))
}
