package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/localmesh/listing"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

type deleteFlags struct {
	files          []string
	namespace      string
	timeout        time.Duration
	all, ignoreNot bool
}

func newDeleteCommand() *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:   "delete (-f PATH | KIND NAME...)",
		Short: "Delete objects of the running mesh",
		Long: `Delete objects of the running mesh, and wait until every proxy has acknowledged it. The user's files are not touched: an object that
stands in one is hidden until it is applied again or the mesh ends.`,
		Example: `  mizzen delete vs reviews
  mizzen delete -f examples/walkthrough/03-weights.yaml
  mizzen delete vs,dr --all`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(f.files) == 0) == (len(args) == 0) {
				return usagef("read arguments: give either -f PATH or KIND NAME; see mizzen delete -h")
			}
			s, err := state.Find(os.Getenv("MIZZEN_STATE"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			return deleteObjects(ctx, cmd, s, f, args)
		},
	}
	cmd.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "`PATH` of a file, a directory or - (standard input); repeat it")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace of objects that name none; default: that of mizzen up")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long the proxies may take to acknowledge")
	cmd.Flags().BoolVar(&f.all, "all", false, "every object of the kind in the namespace")
	cmd.Flags().BoolVar(&f.ignoreNot, "ignore-not-found", false, "an object that is not there is not a failure")
	return cmd
}

func deleteObjects(ctx context.Context, cmd *cobra.Command, s *state.State, f deleteFlags, args []string) error {
	namespace := orDefault(f.namespace, s.Namespace)
	o, err := overlay.Open(s, time.Now)
	if err != nil {
		return err
	}
	refs, err := refsToDelete(cmd, o, f, args, namespace)
	if err != nil {
		o.Close()
		return err
	}
	results, revision, err := o.Delete(refs)
	o.Close()
	for _, r := range results {
		kind, name, _ := strings.Cut(r.Resource, "/")
		fmt.Fprintf(cmd.OutOrStdout(), "%s %q deleted\n", kind, name)
	}
	if e := overlay.Await(ctx, s, revision); err == nil {
		err = e
	}
	return err
}

func refsToDelete(cmd *cobra.Command, o *overlay.Overlay, f deleteFlags, args []string, namespace string) ([]istio.Ref, error) {
	var refs []istio.Ref
	if len(f.files) > 0 {
		set, diags, err := dir.Load(f.files)
		if err != nil {
			return nil, err
		}
		// Warnings are of no use to one who deletes; an object with a mistake is none that could be found.
		printDiagnostics(cmd.ErrOrStderr(), diags.Errors())
		set = overlay.WithNamespace(set.Written(), namespace)
		for _, m := range set.Metas() {
			refs = append(refs, m.Ref)
		}
	} else {
		q, err := listing.ParseQuery(args, namespace, false)
		if err != nil {
			return nil, usageError{Err: err}
		}
		if len(q.Names) == 0 && !f.all {
			return nil, usagef("read arguments: give a NAME, or --all for every object of the kind")
		}
		if f.ignoreNot || f.all {
			q.Names = nil
		}
		found, err := q.Find(o.Current())
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if f.all || len(args) < 2 || contains(args[1:], m.Name) {
				refs = append(refs, m.Ref)
			}
		}
	}
	if !f.ignoreNot {
		return refs, nil
	}
	have := map[istio.Ref]bool{}
	current := o.Current()
	for _, m := range current.Metas() {
		have[m.Ref] = true
	}
	var out []istio.Ref
	for _, r := range refs {
		if have[r] {
			out = append(out, r)
		}
	}
	return out, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s || strings.HasSuffix(x, "/"+s) {
			return true
		}
	}
	return false
}
