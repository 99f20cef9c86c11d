// Command bench measures one sidecar hop: no filter, Envoy's native filters, and Mizzen's chain, in interleaved rounds
// on one machine, and prints requests per second and CPU per request of the Envoy process, as ratios.
package main

import (
	"context"
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
	rounds, turns, connections int
	turn                       time.Duration
	parts                      bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 9, "rounds of each setup")
	flag.IntVar(&o.connections, "connections", 16, "keep-alive connections")
	flag.IntVar(&o.turns, "turns", 10, "turns of each setup in a round")
	flag.DurationVar(&o.turn, "turn", 100*time.Millisecond, "length of a turn")
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
	clients      []*client
	rounds       []sample
	turns        []float64 // CPU per request of every turn, in nanoseconds
}

// sample is one round of one setup: all its turns together.
type sample struct {
	requests  int64
	took, cpu time.Duration // cpu of the Envoy process
}

func (r sample) perRequest() float64 { return float64(r.cpu) / float64(r.requests) }
func (r sample) rps() float64        { return float64(r.requests) / r.took.Seconds() }

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
			hangUp(s.clients)
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
		if s.clients, err = dial(s.envoy.Addr(10000), o.connections); err != nil {
			return fmt.Errorf("setup %s: %w", s.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "bench: %d setups, %d rounds of %d turns of %v each\n", len(all), o.rounds, o.turns, o.turn)
	for r := -1; r < o.rounds; r++ { // round -1 warms up
		for _, s := range all {
			s.rounds = append(s.rounds, sample{})
		}
		for range o.turns {
			for _, s := range all {
				if err := s.turn(ctx, o.turn); err != nil {
					return fmt.Errorf("setup %s: %w", s.name, err)
				}
			}
		}
		if r < 0 {
			for _, s := range all {
				s.rounds, s.turns = nil, nil
			}
		}
	}
	report(all)
	return nil
}

// turn loads the setup's Envoy for d and adds to its last round. Turns are short, so that what disturbs the machine
// disturbs all setups alike.
func (s *setup) turn(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := cpuTime(s.envoy.PID())
	if err != nil {
		return err
	}
	start := time.Now()
	n, err := load(s.clients, d)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := cpuTime(s.envoy.PID())
	if err != nil {
		return err
	}
	r := &s.rounds[len(s.rounds)-1]
	r.requests, r.took, r.cpu = r.requests+n, r.took+took, r.cpu+after-before
	if n > 0 {
		s.turns = append(s.turns, float64(after-before)/float64(n))
	}
	return nil
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
func median(rounds []sample, f func(sample) float64) float64 {
	vs := make([]float64, len(rounds))
	for i, r := range rounds {
		vs[i] = f(r)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// ratio is the median over rounds of a's CPU per request over b's in the same round.
func ratio(a, b *setup) float64 {
	vs := make([]float64, len(a.rounds))
	for i := range a.rounds {
		vs[i] = a.rounds[i].perRequest() / b.rounds[i].perRequest()
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// quiet is the tenth percentile of the turns' CPU per request, in nanoseconds: what a request costs while nothing else
// uses the machine's caches.
func (s *setup) quiet() float64 {
	vs := slices.Sorted(slices.Values(s.turns))
	return vs[len(vs)/10]
}

// report prints the table and the lines for machines.
func report(all []*setup) {
	bare, native, chain, traced := all[0], all[1], all[2], all[3]
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "setup\trequests/s\tCPU/request\tvs no filter\tvs native\tquiet CPU/request\tvs no filter\tvs native\t")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%.0f\t%.1f us\t%.3f\t%.3f\t%.1f us\t%.3f\t%.3f\t\n", s.name, median(s.rounds, sample.rps),
			median(s.rounds, sample.perRequest)/1000, ratio(s, bare), ratio(s, native),
			s.quiet()/1000, s.quiet()/bare.quiet(), s.quiet()/native.quiet())
	}
	w.Flush()
	fmt.Println()
	fmt.Printf("ratio cpu-chain-vs-native %.3f\n", ratio(chain, native))
	fmt.Printf("ratio cpu-chain-vs-nofilter %.3f\n", ratio(chain, bare))
	fmt.Printf("ratio cpu-chain-vs-native-with-tracer %.3f\n", ratio(chain, traced))
	fmt.Printf("ratio cpu-native-vs-nofilter %.3f\n", ratio(native, bare))
	fmt.Printf("ratio quiet-cpu-chain-vs-native %.3f\n", chain.quiet()/native.quiet())
	fmt.Printf("ratio quiet-cpu-chain-vs-nofilter %.3f\n", chain.quiet()/bare.quiet())
	for _, s := range all {
		name := strings.ReplaceAll(s.name, " ", "")
		fmt.Printf("figure rps-%s %.0f rps\n", name, median(s.rounds, sample.rps))
		fmt.Printf("figure cpu-%s %.2f us\n", name, median(s.rounds, sample.perRequest)/1000)
	}
}
