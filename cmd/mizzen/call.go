package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/localmesh/caller"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

type callFlags struct {
	from, method, data, output string
	count, concurrency         int
	headers                    []string
	timeout                    time.Duration
	include, fail              bool
}

func newCallCommand() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call [--from WORKLOAD] [-n COUNT] [URL]",
		Short: "Send requests into the running mesh and count the answers",
		Long: `Send requests into the running mesh, as the workload named with --from or through the gateway, and print each answer, or with -n
a table of answers with counts, shares, p50 and p99, and failures by code and response flag. The flag is read off the answer:
UH no healthy upstream, UO overflow, UT timeout, FI injected fault, RL rate limit, NR no route, NC no cluster.

URL is / if it is left out; it may be a path alone, or have a host that the gateway does not own: the gateway is asked with that Host header.
The exit status is 1 if a request had no answer at all, or with --fail if one was an error.`,
		Example: `  mizzen call /
  mizzen call -n 200 -c 4 -H 'x-user: alice' http://shop.example/
  mizzen call --from storefront-v1-0 http://catalog:8080/`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return call(cmd, f, append(args, "/")[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "`WORKLOAD` (or gateway) that calls; default: the first gateway")
	fl.IntVarP(&f.count, "count", "n", 0, "send `COUNT` requests and print a table")
	fl.IntVarP(&f.concurrency, "concurrency", "c", 1, "requests under way at once")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "request header `'k: v'`; repeat it")
	fl.StringVarP(&f.method, "request", "X", "", "method; default GET, or POST with --data")
	fl.StringVarP(&f.data, "data", "d", "", "request body")
	fl.DurationVar(&f.timeout, "timeout", 0, "of each request; 0 none")
	fl.BoolVarP(&f.include, "include", "i", false, "print status and headers too")
	fl.BoolVar(&f.fail, "fail", false, "exit 1 if an answer is an error (status 400 or more)")
	fl.StringVarP(&f.output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func call(cmd *cobra.Command, f callFlags, url string) error {
	if !slices.Contains([]string{"table", "json", "yaml"}, f.output) {
		return badOutput(f.output, "table", "json", "yaml")
	}
	header, err := readHeaders(f.headers)
	if err != nil {
		return err
	}
	s, err := state.Find(os.Getenv("MIZZEN_STATE"))
	if err != nil {
		return err
	}
	target, err := caller.Resolve(s, f.from, url)
	if err != nil {
		return err
	}
	if f.method == "" && f.data != "" {
		f.method = http.MethodPost
	}
	r := caller.Request{
		Target: target, Method: f.method, Header: header, Body: f.data, Count: f.count, Concurrency: f.concurrency, Timeout: f.timeout,
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	return callAndPrint(ctx, cmd.OutOrStdout(), r, f)
}

func callAndPrint(ctx context.Context, out io.Writer, r caller.Request, f callFlags) error {
	var report caller.Report
	var last caller.Answer
	err := caller.Send(ctx, r, func(a caller.Answer) { report.Add(a); last = a })
	if err != nil && ctx.Err() == nil {
		return err
	}
	report.Finish()
	switch {
	case f.output != "table":
		err = printData(out, f.output, report)
	case f.count > 0:
		err = report.Print(out)
	default:
		err = printAnswer(out, last, f.include)
	}
	if err != nil {
		return err
	}
	for _, x := range report.Failures {
		if x.Code == 0 || f.fail {
			return exitStatus(exitFailed)
		}
	}
	return nil
}

// printAnswer prints the body, with status and flag before it if it is an error.
func printAnswer(out io.Writer, a caller.Answer, include bool) error {
	if a.Err != nil {
		return fmt.Errorf("call: %w", a.Err)
	}
	if include {
		fmt.Fprintf(out, "%s %d %s\n", a.Proto, a.Status, http.StatusText(a.Status))
		for _, k := range slices.Sorted(maps.Keys(a.Header)) {
			for _, v := range a.Header[k] {
				fmt.Fprintf(out, "%s: %s\n", strings.ToLower(k), v)
			}
		}
		fmt.Fprintln(out)
	} else if a.Status != http.StatusOK {
		line := fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
		if a.Flag() != "-" {
			line += " (" + a.Flag() + ")"
		}
		if to := a.Header.Get("Location"); to != "" {
			line += " -> " + to
		}
		fmt.Fprintln(out, line)
	}
	body := strings.TrimRight(a.Body, "\n")
	if body != "" {
		fmt.Fprintln(out, body)
	}
	return nil
}

func readHeaders(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, l := range lines {
		k, v, ok := strings.Cut(l, ":")
		if !ok || strings.TrimSpace(k) == "" {
			return nil, usagef("read -H: %q is not 'name: value'", l)
		}
		h.Add(strings.TrimSpace(k), strings.TrimSpace(v))
	}
	return h, nil
}

// printData prints v as JSON or YAML.
func printData(out io.Writer, format string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err == nil && format == "yaml" {
		raw, err = yaml.JSONToYAML(raw)
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err = fmt.Fprintln(out, strings.TrimRight(string(raw), "\n"))
	return err
}

func badOutput(got string, known ...string) error {
	return usagef("read -o: %q is not one of %s", got, strings.Join(known, ", "))
}
