package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/analyze"
	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
	"github.com/mizzen-mesh/mizzen/internal/kubemesh"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// analyzeFlags are istioctl's, as far as they mean something here.
type analyzeFlags struct {
	checkFlags
	namespace  string
	all        bool
	useMesh    bool
	list       bool
	meshConfig string
	filters    string
	timeout    time.Duration
	cluster    kubemesh.Flags
}

func newAnalyzeCommand() *cobra.Command {
	var f analyzeFlags
	cmd := &cobra.Command{
		Use:   "analyze [-f PATH...]",
		Short: "Check objects and how they fit together",
		Long: `Check every object by itself and all of them together: missing hosts and subsets, conflicting rules, rules that no request
reaches, annotations that nobody reads. Without PATH, what the running mesh has, with what its proxies complain of; with PATH and --use-kube,
the files as if they were applied to it, which is the default where a cluster is named.

` + whichMesh + `

` + findingsHelp,
		Example: `  mizzen analyze -f istio/
  kubectl get all,vs,dr,gw -A -o yaml | mizzen analyze -f -
  mizzen analyze -A
  mizzen analyze -A --context production
  mizzen analyze --use-kube -f change.yaml -S "IST0118=Service *.default"
  mizzen analyze -L`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.list {
				return listCodes(cmd.OutOrStdout())
			}
			r, err := f.report(cmd, args)
			if err != nil {
				return err
			}
			host, err := filterHost(f.filters, mesh.HostGolang)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("use-kube") {
				f.useMesh = len(r.paths) == 0 || f.cluster.Given()
			}
			if !f.useMesh && len(r.paths) == 0 {
				return usagef("read arguments: no -f PATH was given; see %s -h", cmd.CommandPath())
			}
			return f.analyze(cmd, r, host)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	f.cluster.Add(flags)
	flags.StringVarP(&f.namespace, "namespace", "n", "", "only findings of this namespace, which is also that of objects in files that name none")
	flags.BoolVarP(&f.all, "all-namespaces", "A", false, "findings of every namespace (the default with PATH)")
	flags.BoolVarP(&f.useMesh, "use-kube", "k", false, "look at the running mesh too (the default without PATH)")
	flags.BoolVarP(&f.list, "list-analyzers", "L", false, "list the codes and what they mean")
	flags.StringVar(&f.meshConfig, "meshConfigFile", "", "`FILE` with the MeshConfig, in place of the one in ConfigMap istio")
	flags.StringVar(&f.filters, "filters", "", "also say what proxies that run the policies as `HOST` (wasm, golang, native) cannot do")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "for the running mesh to answer")
	cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	return cmd
}

// noSecret begins the message of findings about Secrets that are not there.
const noSecret = "there is no Secret "

// subject is what is looked at.
type subject struct {
	in    compile.Inputs
	diags istio.Diagnostics // of reading it, and of the mesh's proxies
	// namespace whose findings are told; "" all.
	namespace string
	what      string
	// missing is what could not be read; noSecrets: Secrets are among it.
	missing   []error
	noSecrets bool
}

func (f *analyzeFlags) analyze(cmd *cobra.Command, r findingsReport, host mesh.FilterHost) error {
	s, err := f.subject(cmd.Context(), r)
	if err != nil {
		return err
	}
	if f.meshConfig != "" {
		if err := s.setMesh(f.meshConfig); err != nil {
			return err
		}
	}
	for _, m := range s.missing {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", m)
	}
	w, ds := compile.World(s.in)
	ds = slices.Concat(s.diags, ds, analyze.Findings(s.in.Set, w), run.HostFindings(w, host))
	if s.noSecrets { // what may not be looked at may be there
		ds = slices.DeleteFunc(ds, func(d istio.Diagnostic) bool { return strings.HasPrefix(d.Message, noSecret) })
	}
	if s.namespace != "" {
		ds = slices.DeleteFunc(ds, func(d istio.Diagnostic) bool {
			cluster := d.Object.Namespace == "" && (d.Object.Kind != "Namespace" || d.Object.Name == s.namespace)
			return !cluster && d.Object.Namespace != s.namespace
		})
	}
	return r.print(cmd.OutOrStdout(), ds, s.in.Set, s.what)
}

// subject reads the files, the mesh, or both.
func (f *analyzeFlags) subject(ctx context.Context, r findingsReport) (*subject, error) {
	s := &subject{namespace: f.namespace, what: strings.Join(r.paths, ", ")}
	if f.useMesh {
		read := f.running
		if f.cluster.Given() {
			read = f.inCluster
		}
		home, err := read(ctx, s)
		if err != nil {
			return nil, err
		}
		if len(r.paths) == 0 {
			if s.namespace == "" && !f.all {
				s.namespace = home
			}
			s.what = "all namespaces"
			if s.namespace != "" {
				s.what = "namespace: " + s.namespace
			}
			return s, nil
		}
	}
	set, ds, err := r.load()
	if err != nil {
		return nil, err
	}
	set, twice := istio.Merge(s.in.Set, overlay.WithNamespace(set, f.namespace))
	s.in.Set, s.diags = set, slices.Concat(s.diags, ds, twice)
	return s, nil
}

// running reads what the mesh runs with. It returns the namespace of objects that name none.
func (f *analyzeFlags) running(ctx context.Context, s *subject) (home string, err error) {
	st, err := findMesh()
	if err != nil {
		return "", err
	}
	set, ds, err := dir.Load(append(slices.Clone(st.Files), state.AppliedDir(st.Dir), state.PodsDir(st.Dir)))
	if err != nil {
		return "", err
	}
	s.in.Set = overlay.WithNamespace(set.Only(func(m *istio.Meta) bool { return !overlay.IsMarkerObject(m) }), st.Namespace)
	if st.RateLimit != nil {
		s.in.RateLimit = st.RateLimit.GRPC
	}
	ctx, stop := context.WithTimeout(ctx, f.timeout)
	defer stop()
	told, err := st.ControlPlane.Diagnostics(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the control plane: %w", err)
	}
	s.diags = append(ds, known(told)...)
	return orDefault(st.Namespace, "default"), nil
}

// known are those findings of a control plane's that only it knows of: of last good versions, and what proxies say. The others are found
// here, too.
func known(told istio.Diagnostics) istio.Diagnostics {
	return slices.DeleteFunc(told, func(d istio.Diagnostic) bool {
		return !strings.HasPrefix(d.Code, "MZ06") && d.Code != istio.CodeKept
	})
}

// inCluster reads what a cluster has, by its API server.
func (f *analyzeFlags) inCluster(ctx context.Context, s *subject) (home string, err error) {
	ctx, stop := context.WithTimeout(ctx, f.timeout)
	defer stop()
	m, err := f.cluster.Open(ctx)
	if err != nil {
		return "", err
	}
	l, err := kube.List(ctx, kube.Options{Config: m.Config, Namespace: m.System, Revision: m.Revision, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", fmt.Errorf("read the cluster: %w", err)
	}
	s.in.Set = l.Set
	s.missing, s.noSecrets = l.Unread, !l.Secrets
	s.diags = l.Diags
	answers, silent, err := m.Ask(ctx, "/debug/diagnostics")
	if err != nil {
		silent = []error{fmt.Errorf("what proxies reject is not told: %w", err)}
	}
	s.missing = append(s.missing, silent...)
	for _, a := range answers {
		told, err := state.ReadDiagnostics(a.Body)
		if err != nil {
			return "", err
		}
		s.diags = append(s.diags, known(told)...)
	}
	return m.Namespace, nil
}

// setMesh takes the MeshConfig from a file.
func (s *subject) setMesh(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read --meshConfigFile: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	set, ds, err := istio.DecodeMeshConfig(name, file)
	if err != nil {
		return fmt.Errorf("read --meshConfigFile: %w", err)
	}
	s.in.Set.Mesh, s.diags = set.Mesh, append(s.diags, ds...)
	return nil
}

// listCodes prints what there is to be found, in the form of istioctl's list of analyzers.
func listCodes(w io.Writer) error {
	for _, c := range analyze.Codes() {
		if _, err := fmt.Fprintf(w, "* %s:\n    %s: %s\n", strings.TrimSpace(c.Code+" "+c.Name), strings.Join(c.Severities, " or "), c.Meaning); err != nil {
			return err
		}
	}
	return nil
}
