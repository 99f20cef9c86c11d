package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func newApplyCommand() *cobra.Command {
	var files []string
	var namespace string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "apply -f PATH",
		Short: "Create or change objects of the running mesh",
		Long: `Create or change objects of the running mesh, and wait until every proxy has acknowledged the change. Istio's and Kubernetes' kinds
are taken: a Deployment with more replicas starts more workloads. A mistake refuses the whole, and the last good state stays.
The user's files are not touched: what is applied lies over them until the mesh ends.`,
		Example: `  mizzen apply -f examples/walkthrough/03-weights.yaml
  kubectl create deployment x --image x --dry-run=client -o yaml | mizzen apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if files = append(files, args...); len(files) == 0 {
				return usagef("read arguments: no -f PATH was given; see mizzen apply -h")
			}
			s, err := state.Find(os.Getenv("MIZZEN_STATE"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return apply(ctx, cmd, s, files, namespace)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "`PATH` of a file, a directory or - (standard input); repeat it")
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of objects that name none; default: that of mizzen up")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long the proxies may take to acknowledge")
	return cmd
}

func apply(ctx context.Context, cmd *cobra.Command, s *state.State, files []string, namespace string) error {
	set, diags, err := dir.Load(files)
	if err != nil {
		return err
	}
	set = overlay.WithNamespace(set.Written(), orDefault(namespace, s.Namespace))
	o, err := overlay.Open(s, time.Now)
	if err != nil {
		return err
	}
	merged, _ := istio.Merge(o.Current(), set)
	merged, converted := istio.Today(merged)
	diags = inTheMesh(diags, converted, set)
	printDiagnostics(cmd.ErrOrStderr(), diags)
	if worst, _ := diags.Worst(); worst == istio.Error {
		o.Close()
		return fmt.Errorf("apply: refused for the mistakes above; the last good state stays")
	}
	if len(set.Metas()) == 0 {
		o.Close()
		return fmt.Errorf("apply: no objects in %v", files)
	}
	in := compile.Inputs{Set: merged, RootNamespace: "istio-system", DomainSuffix: "cluster.local"}
	if s.RateLimit != nil {
		in.RateLimit = s.RateLimit.GRPC
	}
	_, found := compile.World(in)
	printDiagnostics(cmd.ErrOrStderr(), concerning(found, set))
	results, revision, err := o.Apply(set)
	o.Close()
	for _, r := range results {
		fmt.Fprintln(cmd.OutOrStdout(), r)
	}
	if err != nil {
		return err
	}
	return settle(ctx, cmd, s, revision, set)
}

// settle waits for the proxies and tells what they rejected.
func settle(ctx context.Context, cmd *cobra.Command, s *state.State, revision string, set istio.Set) error {
	if revision == "" {
		return nil
	}
	if err := overlay.Await(ctx, s, revision); err != nil {
		return err
	}
	diags, err := s.ControlPlane.Diagnostics(ctx)
	if err != nil {
		return err
	}
	var rejected, missing istio.Diagnostics // the rest was told before it was applied
	for _, d := range concerning(diags, set) {
		switch d.Code {
		case server.CodeRejected:
			rejected = append(rejected, d)
		case run.CodeModule:
			missing = append(missing, d)
		}
	}
	printDiagnostics(cmd.ErrOrStderr(), slices.Concat(rejected, missing))
	if len(rejected) > 0 {
		return fmt.Errorf("apply: proxies rejected it; they keep their last good configuration")
	}
	return nil // a module that is missing is tried again, and may be there in a moment
}

// inTheMesh tells of objects of old kinds what they come to together with those of the mesh, not what the files alone would.
func inTheMesh(read, converted istio.Diagnostics, set istio.Set) istio.Diagnostics {
	alone, _ := istio.Today(set)
	about := concerning(read, istio.Set{Legacy: set.Legacy})
	about = append(about, concerning(read, alone.Only(func(m *istio.Meta) bool { return m.From != nil }))...)
	out := slices.DeleteFunc(slices.Clone(read), func(d istio.Diagnostic) bool { return slices.Contains(about, d) })
	out = append(out, concerning(converted, istio.Set{Legacy: set.Legacy})...)
	out.Sort()
	return out
}

// concerning picks the diagnostics about objects of the set.
func concerning(diags istio.Diagnostics, set istio.Set) istio.Diagnostics {
	refs := map[istio.Ref]bool{}
	for _, m := range set.Metas() {
		refs[m.Ref] = true
	}
	var out istio.Diagnostics
	for _, d := range diags {
		if refs[d.Object] {
			out = append(out, d)
		}
	}
	return out
}

func printDiagnostics(w io.Writer, diags istio.Diagnostics) {
	for _, d := range diags {
		fmt.Fprintln(w, d)
	}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
