package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// median of f over rounds.
func median(rounds []sample, f func(sample) float64) float64 {
	vs := make([]float64, len(rounds))
	for i, r := range rounds {
		vs[i] = f(r)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// against is the median over rounds of a's f compared with b's in the same round.
func against(a, b *setup, f func(sample) float64, compare func(x, y float64) float64) float64 {
	vs := make([]float64, len(a.rounds))
	for i := range a.rounds {
		vs[i] = compare(f(a.rounds[i]), f(b.rounds[i]))
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

func over(x, y float64) float64  { return x / y }
func minus(x, y float64) float64 { return x - y }

func ratio(a, b *setup) float64 { return against(a, b, sample.perRequest, over) }

// added is what a request costs in a more than in b, in microseconds.
func added(a, b *setup) float64 { return against(a, b, sample.perRequest, minus) / 1000 }

// quiet is the tenth percentile of the turns' CPU per request, in nanoseconds: what a request costs while nothing else
// uses the machine's caches.
func (s *setup) quiet() float64 {
	vs := slices.Sorted(slices.Values(s.turns))
	return vs[len(vs)/10]
}

// slug is a setup's name in the lines for machines.
func (s *setup) slug() string { return strings.ReplaceAll(s.name, " ", "") }

var columns = []string{"setup", "requests/s", "p99", "CPU/request", "vs no filter", "vs native", "more than no filter", "quiet CPU/request", "vs no filter", "vs native"}

func (s *setup) row(bare, native *setup) []string {
	return []string{s.name, fmt.Sprintf("%.0f", median(s.rounds, sample.rps)), fmt.Sprintf("%.2f ms", median(s.rounds, sample.p99)/1e6),
		fmt.Sprintf("%.1f us", median(s.rounds, sample.perRequest)/1000), fmt.Sprintf("%.3f", ratio(s, bare)), fmt.Sprintf("%.3f", ratio(s, native)),
		fmt.Sprintf("%.1f us", added(s, bare)), fmt.Sprintf("%.1f us", s.quiet()/1000), fmt.Sprintf("%.3f", s.quiet()/bare.quiet()),
		fmt.Sprintf("%.3f", s.quiet()/native.quiet())}
}

// report prints the table and the lines for machines. The first two setups are those that all others are compared with.
func report(out io.Writer, all []*setup, md bool) {
	bare, native := all[0], all[1]
	table(out, all, md)
	fmt.Fprintln(out)
	for _, s := range all {
		name := s.slug()
		if s != bare {
			fmt.Fprintf(out, "ratio cpu-%s-vs-nofilter %.3f\n", name, ratio(s, bare))
			fmt.Fprintf(out, "ratio quiet-cpu-%s-vs-nofilter %.3f\n", name, s.quiet()/bare.quiet())
			fmt.Fprintf(out, "ratio rps-%s-vs-nofilter %.3f\n", name, against(s, bare, sample.rps, over))
			fmt.Fprintf(out, "ratio p99-%s-vs-nofilter %.3f\n", name, against(s, bare, sample.p99, over))
			fmt.Fprintf(out, "figure added-cpu-%s-vs-nofilter %.2f us\n", name, added(s, bare))
			fmt.Fprintf(out, "figure quiet-added-cpu-%s-vs-nofilter %.2f us\n", name, (s.quiet()-bare.quiet())/1000)
		}
		if s != bare && s != native {
			fmt.Fprintf(out, "ratio cpu-%s-vs-native %.3f\n", name, ratio(s, native))
			fmt.Fprintf(out, "ratio quiet-cpu-%s-vs-native %.3f\n", name, s.quiet()/native.quiet())
		}
		if s.name == "native+tracer" {
			for _, other := range all {
				if other.name == "chain" {
					fmt.Fprintf(out, "ratio cpu-chain-vs-native-with-tracer %.3f\n", ratio(other, s))
					fmt.Fprintf(out, "ratio quiet-cpu-chain-vs-native-with-tracer %.3f\n", other.quiet()/s.quiet())
				}
			}
		}
		fmt.Fprintf(out, "figure rps-%s %.0f rps\n", name, median(s.rounds, sample.rps))
		fmt.Fprintf(out, "figure p99-%s %.3f ms\n", name, median(s.rounds, sample.p99)/1e6)
		fmt.Fprintf(out, "figure cpu-%s %.2f us\n", name, median(s.rounds, sample.perRequest)/1000)
	}
}

func table(out io.Writer, all []*setup, md bool) {
	if md {
		fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for _, s := range all {
			fmt.Fprintf(out, "| %s |\n", strings.Join(s.row(all[0], all[1]), " | "))
		}
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, strings.Join(columns, "\t")+"\t")
	for _, s := range all {
		fmt.Fprintln(w, strings.Join(s.row(all[0], all[1]), "\t")+"\t")
	}
	w.Flush()
}
