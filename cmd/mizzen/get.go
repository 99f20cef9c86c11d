package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/localmesh/listing"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func newGetCommand() *cobra.Command {
	var namespace, output string
	var all bool
	cmd := &cobra.Command{
		Use:   "get KIND[,KIND...] [NAME...]",
		Short: "List objects of the running mesh, with kubectl's columns",
		Example: `  mizzen get vs,dr
  mizzen get pods -A
  mizzen get vs reviews -o yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"table", "wide", "json", "yaml", "name"}, output) {
				return badOutput(output, "table", "json", "yaml", "name")
			}
			s, err := state.Find(os.Getenv("MIZZEN_STATE"))
			if err != nil {
				return err
			}
			q, err := listing.ParseQuery(args, orDefault(namespace, s.Namespace), all)
			if err != nil {
				return usageError{Err: err}
			}
			return get(cmd, s, q, output)
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "default: that of mizzen up")
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "of every namespace")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json, yaml or name")
	return cmd
}

func get(cmd *cobra.Command, s *state.State, q listing.Query, output string) error {
	set, mistakes, err := dir.Load(append(slices.Clone(s.Files), state.AppliedDir(s.Dir), state.PodsDir(s.Dir)))
	if err != nil {
		return err
	}
	set = set.Only(func(m *istio.Meta) bool { return !overlay.IsMarkerObject(m) })
	printUnlisted(cmd.ErrOrStderr(), q, mistakes)
	found, err := q.Find(set)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	p := listing.Printer{Set: set, State: s, Now: time.Now(), Namespaces: q.All}
	switch {
	case output == "json" || output == "yaml":
		return p.Objects(out, found, output == "json", len(q.Names) == 1 && len(q.Kinds) == 1)
	case len(found) == 0:
		where := "in namespace " + q.Namespace
		if q.All {
			where = "anywhere"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "No resources found %s.\n", where)
		return nil
	case output == "name":
		return p.Names(out, found)
	}
	return p.Table(out, found)
}

// printUnlisted names what the list lacks because its YAML cannot be read now: what of it was good before is still in force.
func printUnlisted(w io.Writer, q listing.Query, mistakes istio.Diagnostics) {
	said := false
	for _, d := range mistakes.Errors() {
		asked := d.Object.Kind == "" || slices.ContainsFunc(q.Kinds, func(k istio.Kind) bool {
			return k.Name == d.Object.Kind && (q.All || !k.Namespaced || d.Object.Namespace == q.Namespace)
		})
		if asked {
			fmt.Fprintln(w, d)
			said = true
		}
	}
	if said {
		fmt.Fprintln(w, "What these mistakes are in is not listed; if it was in force before them, it still is.")
	}
}
