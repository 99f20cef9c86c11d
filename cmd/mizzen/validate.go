package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
)

func newValidateCommand() *cobra.Command {
	return checkCommand("validate", "Check objects one by one: fields, types, values",
		`Check every object by itself: syntax, unknown fields, types, values, and what Istio's validation refuses.
"mizzen analyze" also checks how objects fit together.`,
		func(istio.Set, mesh.FilterHost) istio.Diagnostics { return nil })
}

func newAnalyzeCommand() *cobra.Command {
	return checkCommand("analyze", "Check objects and how they fit together",
		`Check every object by itself and all of them together: missing hosts and subsets, conflicting rules, rules that no request
reaches.`,
		func(set istio.Set, filters mesh.FilterHost) istio.Diagnostics {
			w, ds := compile.World(compile.Inputs{Set: set})
			return append(ds, run.HostFindings(w, filters)...)
		})
}

// checkCommand is validate, or analyze with what more finds.
func checkCommand(name, short, long string, more func(istio.Set, mesh.FilterHost) istio.Diagnostics) *cobra.Command {
	var files []string
	var output, threshold, filters string
	cmd := &cobra.Command{
		Use:   name + " -f PATH...",
		Short: short,
		Long: long + `

Each finding has its code, file, line and column, and what to write instead. PATH is a file, a directory, or - for standard
input. Exit status: 0 if nothing is as bad as --failure-threshold, else 79.`,
		Example: fmt.Sprintf("  mizzen %[1]s -f istio/\n  kubectl get vs,dr,gw -A -o yaml | mizzen %[1]s -f -", name),
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := append(files, args...)
			if len(paths) == 0 {
				return usagef("read arguments: no -f PATH was given; see %s -h", cmd.CommandPath())
			}
			worst, err := severity(threshold)
			if err != nil {
				return err
			}
			host, err := filterHost(filters)
			if err != nil {
				return err
			}
			set, ds, err := dir.Load(paths)
			if err != nil {
				return err
			}
			ds = append(append(istio.Diagnostics{}, ds...), more(set, host)...)
			ds.Sort()
			if err := printFindings(cmd, ds, output, strings.Join(paths, ", ")); err != nil {
				return err
			}
			if w, ok := ds.Worst(); ok && w >= worst {
				return exitStatus(exitFindings)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "`PATH` to read; repeat it for several")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table (istioctl's lines), json or yaml")
	cmd.Flags().StringVar(&threshold, "failure-threshold", "Error", "severity that fails: Info, Warning or Error")
	if name == "analyze" {
		cmd.Flags().StringVar(&filters, "filters", "", "also say what proxies that run the policies as `HOST` (wasm, native) cannot do")
	}
	return cmd
}

func severity(word string) (istio.Severity, error) {
	for _, s := range []istio.Severity{istio.Info, istio.Warning, istio.Error} {
		if strings.EqualFold(s.String(), word) {
			return s, nil
		}
	}
	return 0, usagef("read --failure-threshold: %q is none of Info, Warning, Error", word)
}

// printFindings prints the diagnostics, or that there are none.
func printFindings(cmd *cobra.Command, ds istio.Diagnostics, output, what string) error {
	w := cmd.OutOrStdout()
	switch output {
	case "json":
		return proxyconfig.WriteJSON(w, ds)
	case "yaml":
		return proxyconfig.WriteYAML(w, ds)
	case "table", "log":
		return printLines(w, ds, what)
	}
	return badOutput(output, "table", "json", "yaml")
}

func printLines(w io.Writer, ds istio.Diagnostics, what string) error {
	if len(ds) == 0 {
		_, err := fmt.Fprintf(w, "✔ No validation issues found when analyzing %s.\n", what)
		return err
	}
	for _, d := range ds {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
	}
	return nil
}
