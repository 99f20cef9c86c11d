// Command bench measures one sidecar hop: no filter, Envoy's native filters, and Mizzen's chain, in interleaved rounds
// on one machine, and prints requests per second and CPU per request of the Envoy process, as ratios.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

type options struct {
	rounds, connections int
	round               time.Duration
	parts               bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 9, "rounds of each setup")
	flag.IntVar(&o.connections, "connections", 16, "keep-alive connections")
	flag.DurationVar(&o.round, "round", 2*time.Second, "length of a round")
	flag.BoolVar(&o.parts, "parts", false, "also measure the empty chain and every policy alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// setup is one Envoy under test.
type setup struct {
	name, config string
	envoy        *envoytest.Envoy
	rounds       []sample
}

// sample is one round of one setup.
type sample struct {
	rps float64
	cpu time.Duration // of the Envoy process, per request
}

func run(ctx context.Context, o options) (err error) {
	bin, err := envoytest.Binary()
	if err != nil {
		return err
	}
	so := os.Getenv("MIZZEN_MODULE")
	if so == "" {
		if so, err = envoytest.Build("filters/cmd/mizzen", "mizzen"); err != nil {
			return err
		}
	}
	up, err := newUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	dir, err := os.MkdirTemp("", "mizzen-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all := setups(up.port, o.parts)
	defer func() {
		for _, s := range all {
			if s.envoy != nil {
				s.envoy.Stop()
			}
		}
	}()
	for _, s := range all {
		sub := filepath.Join(dir, s.name)
		if err := os.Mkdir(sub, 0o755); err != nil {
			return err
		}
		s.envoy, err = envoytest.Launch(bin, sub, envoytest.Options{Config: s.config, Module: so, Concurrency: 1})
		if err != nil {
			return fmt.Errorf("setup %s: %w", s.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "bench: %d setups, %d rounds of %v each\n", len(all), o.rounds, o.round)
	for r := -1; r < o.rounds; r++ { // round -1 warms up
		for _, s := range all {
			got, err := measure(ctx, s, o)
			if err != nil {
				return fmt.Errorf("setup %s: %w", s.name, err)
			}
			if r >= 0 {
				s.rounds = append(s.rounds, got)
			}
		}
	}
	report(all)
	return nil
}

// measure loads one Envoy for one round.
func measure(ctx context.Context, s *setup, o options) (sample, error) {
	before, err := cpuTime(s.envoy.PID())
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	n, err := load(ctx, s.envoy.Addr(10000), o.connections, o.round)
	if err != nil {
		return sample{}, err
	}
	took := time.Since(start)
	after, err := cpuTime(s.envoy.PID())
	if err != nil {
		return sample{}, err
	}
	if n == 0 {
		return sample{}, errors.New("no request was answered")
	}
	return sample{rps: float64(n) / took.Seconds(), cpu: (after - before) / time.Duration(n)}, nil
}

// cpuTime is the CPU time, user and system, that a process and its threads have used: its CPU clock, which counts
// nanoseconds where /proc/PID/stat counts ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil { // MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// median of f over rounds.
func median[T cmp.Ordered](rounds []sample, f func(sample) T) T {
	vs := make([]T, len(rounds))
	for i, r := range rounds {
		vs[i] = f(r)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

func cpuOf(r sample) time.Duration { return r.cpu }
func rpsOf(r sample) float64       { return r.rps }

// ratio is the median over rounds of a's CPU per request over b's in the same round: what disturbs the machine for
// longer than a round disturbs both.
func ratio(a, b *setup) float64 {
	vs := make([]float64, len(a.rounds))
	for i := range a.rounds {
		vs[i] = float64(a.rounds[i].cpu) / float64(b.rounds[i].cpu)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// report prints the table and the lines for machines.
func report(all []*setup) {
	bare, native, chain := all[0], all[1], all[2]
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "setup\trequests/s\tCPU/request\tvs no filter\tvs native\t")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%.0f\t%.1f us\t%.3f\t%.3f\t\n", s.name, median(s.rounds, rpsOf),
			float64(median(s.rounds, cpuOf))/1000, ratio(s, bare), ratio(s, native))
	}
	w.Flush()
	fmt.Println()
	fmt.Printf("ratio cpu-chain-vs-native %.3f\n", ratio(chain, native))
	fmt.Printf("ratio cpu-chain-vs-nofilter %.3f\n", ratio(chain, bare))
	fmt.Printf("ratio cpu-native-vs-nofilter %.3f\n", ratio(native, bare))
	for _, s := range all {
		name := strings.ReplaceAll(s.name, " ", "-")
		fmt.Printf("figure rps-%s %.0f rps\n", name, median(s.rounds, rpsOf))
		fmt.Printf("figure cpu-%s %.2f us\n", name, float64(median(s.rounds, cpuOf))/1000)
	}
}
