package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

func newVersionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  mizzen version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"mizzen": cmdline.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			switch output {
			case "table":
				fmt.Fprintf(cmd.OutOrStdout(), "mizzen %s (%s %s)\n", v["mizzen"], v["go"], v["platform"])
				return nil
			case "json":
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			case "yaml":
				raw, err := yaml.Marshal(v)
				if err == nil {
					_, err = cmd.OutOrStdout().Write(raw)
				}
				return err
			}
			return badOutput(output, "table", "json", "yaml")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}
