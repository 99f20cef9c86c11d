// Command bench measures one sidecar hop: no filter, Envoy's native filters, and Mizzen's chain in every host, in
// interleaved rounds on one machine, and prints requests per second, CPU per request of the Envoy process and the 99th
// percentile of latency, as ratios.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

type options struct {
	rounds, turns, connections int
	turn                       time.Duration
	parts, md                  bool
	build, only                string
	callgrind                  int
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 9, "rounds of each setup")
	flag.IntVar(&o.connections, "connections", 16, "keep-alive connections")
	flag.IntVar(&o.turns, "turns", 10, "turns of each setup in a round")
	flag.DurationVar(&o.turn, "turn", 100*time.Millisecond, "length of a turn")
	flag.BoolVar(&o.parts, "parts", false, "also measure the empty chain and every policy alone")
	flag.BoolVar(&o.md, "md", false, "print the table as markdown, for docs/performance.md")
	flag.StringVar(&o.build, "build", "", "the folder with the hosts' libraries; default that of MIZZEN_MODULE, or build")
	flag.StringVar(&o.only, "only", "", "setups to measure besides no filter and native, by comma; default all")
	flag.IntVar(&o.callgrind, "callgrind", 0, "count instructions of so many requests under valgrind instead of measuring time")
	flag.Parse()
	if o.build == "" {
		o.build = "build"
		if so := os.Getenv("MIZZEN_MODULE"); so != "" {
			o.build = filepath.Dir(so)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	bin, err := envoytest.Binary()
	if err != nil {
		return err
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
	all := setups(up.port, o)
	if o.callgrind > 0 {
		return instructions(ctx, out, bin, dir, all, o.callgrind)
	}
	defer func() {
		for _, s := range all {
			s.stop()
		}
	}()
	for _, s := range all {
		if err := s.start(bin, dir, o.connections); err != nil {
			return fmt.Errorf("setup %s: %w", s.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "bench: %d setups, %d rounds of %d turns of %v each\n", len(all), o.rounds, o.turns, o.turn)
	for r := -1; r < o.rounds; r++ { // round -1 warms up
		if err := round(ctx, all, o); err != nil {
			return err
		}
		if r < 0 {
			for _, s := range all {
				s.rounds, s.turns = nil, nil
			}
		}
	}
	report(out, all, o.md)
	return nil
}

// round gives every setup its turns, one after another.
func round(ctx context.Context, all []*setup, o options) error {
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
	return nil
}
