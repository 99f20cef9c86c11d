package main

import (
	"fmt"
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
				return usageError{err}
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
	set, _, err := dir.Load(append(slices.Clone(s.Files), state.AppliedDir(s.Dir), state.PodsDir(s.Dir)))
	if err != nil {
		return err
	}
	set = set.Only(func(m *istio.Meta) bool { return !overlay.IsMarkerObject(m) })
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
