package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
)

func newConvertCommand() *cobra.Command {
	var files []string
	var output string
	cmd := &cobra.Command{
		Use:   "convert -f PATH...",
		Short: "Write old Istio kinds and fields in today's form",
		Long: `Print the files with everything that Istio removed or renamed in today's form: RouteRule, DestinationPolicy, EgressRule, Policy,
MeshPolicy, ServiceRole, ServiceRoleBinding, ClusterRbacConfig, Mixer's quotas, and obsolete fields. Objects that belong together
(the RouteRules of one service) are converted together, so give all files, with the Services, at once. Documents that need no change are
printed as they are. What was changed, and what has no counterpart today, is told on stderr.

PATH is a file, a directory, or - for standard input. Exit status: 79 if something could not be converted.`,
		Example: `  mizzen convert -f istio/ > today.yaml
  kubectl get routerules,destinationpolicies -A -o yaml | mizzen convert -f -`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if files = append(files, args...); len(files) == 0 {
				return usagef("read arguments: no -f PATH was given; see mizzen convert -h")
			}
			if output != "yaml" && output != "json" {
				return badOutput(output, "yaml", "json")
			}
			sources, err := dir.Sources(files, cmd.InOrStdin())
			if err != nil {
				return err
			}
			return convert(cmd, sources, output)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "`PATH` to read; repeat it for several")
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "yaml or json")
	return cmd
}

func convert(cmd *cobra.Command, sources []istio.Source, output string) error {
	out, diags := istio.Modern(sources)
	printDiagnostics(cmd.ErrOrStderr(), diags)
	text := out.YAML()
	if output == "json" {
		text = string(out.JSON())
	}
	if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
		return fmt.Errorf("print the converted files: %w", err)
	}
	if len(diags.Errors()) > 0 {
		return exitStatus(exitFindings)
	}
	return nil
}
