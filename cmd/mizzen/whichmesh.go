package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/internal/kubeconfig"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// findMesh finds the local mesh, for a command that a cluster may be named to instead.
func findMesh() (*state.State, error) {
	s, err := state.Find(os.Getenv("MIZZEN_STATE"))
	if err != nil && os.Getenv("MIZZEN_STATE") == "" {
		return nil, fmt.Errorf("%w; --kubeconfig FILE or --context NAME names a cluster", err)
	}
	return s, err
}

// localOnly has a command say what does its work in a cluster, if one is named to it. instead is that command line, in which
// ACCESS stands for the flags given and ARGS for the arguments.
func localOnly(cmd *cobra.Command, instead string) *cobra.Command {
	var access kubeconfig.Flags
	access.Add(cmd.Flags())
	for _, name := range []string{"kubeconfig", "context"} {
		if err := cmd.Flags().MarkHidden(name); err != nil {
			panic(err) // a flag that Add does not add
		}
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !access.Given() {
			return run(cmd, args)
		}
		var given []string
		if access.File != "" {
			given = append(given, "--kubeconfig "+access.File)
		}
		if access.Context != "" {
			given = append(given, "--context "+access.Context)
		}
		line := strings.NewReplacer("ACCESS", strings.Join(given, " "), "ARGS", strings.Join(args, " ")).Replace(instead)
		return usagef("%s: works with the mesh of this machine only; in a cluster write: %s", cmd.CommandPath(), strings.Join(strings.Fields(line), " "))
	}
	return cmd
}
