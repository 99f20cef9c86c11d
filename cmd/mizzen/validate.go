package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/analyze"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
)

// checkFlags are what validate and analyze have in common.
type checkFlags struct {
	files              []string
	output             string
	failure, threshold string
	recursive          bool
	ignoreUnknown      bool
	suppress           []string
}

func (f *checkFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "filename", "f", nil, "`PATH` to read; repeat it for several")
	flags.StringVarP(&f.output, "output", "o", "table", "table or log (istioctl's lines), json or yaml")
	flags.StringVar(&f.failure, "failure-threshold", "Error", "severity that fails: Info, Warning or Error")
	flags.StringVar(&f.threshold, "output-threshold", "Info", "severity from which on findings are printed")
	flags.BoolVarP(&f.recursive, "recursive", "R", true, "read directories with all below them")
	flags.BoolVar(&f.ignoreUnknown, "ignore-unknown", false, "pass over documents that are no objects, or of no known kind")
	flags.StringArrayVarP(&f.suppress, "suppress", "S", nil, "leave out `CODE=RESOURCE`, such as \"IST0103=Pod *.default\"; repeat it for several")
}

func newValidateCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:     "validate -f PATH...",
		Aliases: []string{"v"},
		Short:   "Check objects one by one: fields, types, values",
		Long: `Check every object by itself: syntax, unknown fields, types, values, and what Istio's validation refuses.
"mizzen analyze" also checks how objects fit together.

` + findingsHelp,
		Example: "  mizzen validate -f istio/\n  kubectl get vs,dr,gw -A -o yaml | mizzen validate -f -",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.report(cmd, args)
			if err != nil {
				return err
			}
			if len(r.paths) == 0 {
				return usagef("read arguments: no -f PATH was given; see %s -h", cmd.CommandPath())
			}
			set, ds, err := r.load()
			if err != nil {
				return err
			}
			return r.print(cmd.OutOrStdout(), ds, set, strings.Join(r.paths, ", "))
		},
	}
	f.add(cmd)
	return cmd
}

const findingsHelp = `Each finding has its code (see docs/diagnostics.md), file, line and column, and what to write instead. PATH is a file, a directory, or -
for standard input. Annotation galley.istio.io/analyze-suppress: CODE,... on an object leaves findings out. Exit status: 0 if nothing is
as bad as --failure-threshold, else 79.`

// findingsReport is how findings are to be told.
type findingsReport struct {
	flags       *checkFlags
	paths       []string
	fails, from istio.Severity
	rules       []analyze.Suppression
}

// report reads the flags.
func (f *checkFlags) report(cmd *cobra.Command, args []string) (r findingsReport, err error) {
	r = findingsReport{flags: f, paths: append(slices.Clone(f.files), args...)}
	if r.fails, err = severity("--failure-threshold", f.failure); err != nil {
		return r, err
	}
	if r.from, err = severity("--output-threshold", f.threshold); err != nil {
		return r, err
	}
	if !slices.Contains([]string{"table", "log", "json", "yaml"}, f.output) {
		return r, badOutput(f.output, "table", "log", "json", "yaml")
	}
	for _, s := range f.suppress {
		rule, err := analyze.ParseSuppression(s)
		if err != nil {
			return r, usagef("read --suppress: %w", err)
		}
		r.rules = append(r.rules, rule)
	}
	return r, nil
}

func severity(flag, word string) (istio.Severity, error) {
	for _, s := range []istio.Severity{istio.Info, istio.Warning, istio.Error} {
		if strings.EqualFold(s.String(), word) {
			return s, nil
		}
	}
	return 0, usagef("read %s: %q is none of Info, Warning, Error", flag, word)
}

// load reads the paths.
func (r findingsReport) load() (istio.Set, istio.Diagnostics, error) {
	paths := r.paths
	if !r.flags.recursive {
		paths = nil
		for _, p := range r.paths {
			if info, err := os.Stat(p); p == "-" || err != nil || !info.IsDir() {
				paths = append(paths, p)
				continue
			}
			for _, ext := range []string{"yaml", "yml", "json"} {
				found, err := filepath.Glob(filepath.Join(p, "[^.]*."+ext))
				if err != nil {
					return istio.Set{}, nil, fmt.Errorf("list %s: %w", p, err)
				}
				paths = append(paths, found...)
			}
		}
	}
	set, ds, err := dir.Load(paths)
	if r.flags.ignoreUnknown {
		unknown := []string{istio.CodeNoKind, istio.CodeUnknownKind, istio.CodeSyntax}
		ds = slices.DeleteFunc(slices.Clone(ds), func(d istio.Diagnostic) bool { return slices.Contains(unknown, d.Code) })
	}
	return set, ds, err
}

// print tells the findings, and fails if some are bad enough. what was looked at stands in the line that says that there are none.
func (r findingsReport) print(w io.Writer, ds istio.Diagnostics, set istio.Set, what string) error {
	ds = analyze.Told(ds, set, r.rules)
	ds.Sort()
	worst, any := ds.Worst()
	ds = slices.DeleteFunc(ds, func(d istio.Diagnostic) bool { return d.Severity < r.from })
	if err := printFindings(w, ds, r.flags.output, what); err != nil {
		return err
	}
	if any && worst >= r.fails {
		return exitStatus(exitFindings)
	}
	return nil
}

// printedFinding has the fields of `istioctl analyze -o json` beside our own.
type printedFinding struct {
	istio.Diagnostic
	Level            string `json:"level"`
	Origin           string `json:"origin,omitempty"`
	Reference        string `json:"reference,omitempty"`
	DocumentationURL string `json:"documentationUrl"`
}

// printFindings prints the diagnostics, or that there are none.
func printFindings(w io.Writer, ds istio.Diagnostics, output, what string) error {
	if output == "table" || output == "log" {
		return printLines(w, ds, what)
	}
	list := make([]printedFinding, len(ds))
	for i, d := range ds {
		list[i] = printedFinding{Diagnostic: d, Level: d.Severity.String(), Reference: d.Position.String(), DocumentationURL: "docs/diagnostics.md"}
		if d.Object != (istio.Ref{}) {
			list[i].Origin = d.Object.String()
		}
	}
	if output == "yaml" {
		return proxyconfig.WriteYAML(w, list)
	}
	return proxyconfig.WriteJSON(w, list)
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
