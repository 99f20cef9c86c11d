// Command soak loads real Envoys with the whole chain for long, changes their configuration every second, and checks
// every answer: it must follow from a configuration that was in force. One Envoy for each host of the chain; they run side by
// side, each for the whole time. It prints what memory did, as the ratio of the last third of the time to the first.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

type options struct {
	duration    time.Duration
	connections int
	hosts       string
	build       string
}

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long")
	flag.IntVar(&o.connections, "connections", 64, "connections to each Envoy")
	flag.StringVar(&o.hosts, "hosts", "dynamic-module,wasm,golanghost", "which hosts, by comma")
	flag.StringVar(&o.build, "build", "build", "the folder with the hosts' libraries")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run soaks all hosts side by side and reports. Its error says what was unexpected.
func run(ctx context.Context, o options, out io.Writer, log *slog.Logger) error {
	bin, err := envoytest.Binary()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mizzen-soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var ups [2]*upstream
	for i := range ups {
		if ups[i], err = newUpstream(fmt.Sprintf("v%d", i+1)); err != nil {
			return err
		}
		defer ups[i].l.Close()
	}
	var all []*soak
	defer func() {
		for _, s := range all {
			s.envoy.Stop()
		}
	}()
	for _, h := range hosts(o.build) {
		if !strings.Contains(","+o.hosts+",", ","+h.name()+",") {
			continue
		}
		sub, err := subdir(dir, h.name())
		if err != nil {
			return err
		}
		s, err := begin(h, bin, sub, ups[0], ups[1], log)
		if err != nil {
			return fmt.Errorf("host %s: %w", h.name(), err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return fmt.Errorf("no host among %q is known", o.hosts)
	}
	fmt.Fprintf(out, "soak: %d hosts side by side for %v each, %d connections and a change of configuration every second to each\n",
		len(all), o.duration, o.connections)
	var running sync.WaitGroup
	for _, s := range all {
		running.Go(func() { s.run(ctx, o.duration, o.connections) })
	}
	running.Wait()
	return report(out, all)
}

// report prints the table and the lines for machines.
func report(out io.Writer, all []*soak) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "host\trequests\tunexpected\tchanges\tclients left\tconnections\tMiB first third\tlast\tGo heap below\t")
	for _, s := range all {
		first, last := thirds(s.samples, resident)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%d MiB\t\n", s.host.name(), s.tally.requests.Load(), s.tally.unexpected.Load(), s.changes,
			s.tally.left.Load(), s.tally.dialled.Load(), first/(1<<20), last/(1<<20), largest(s.samples))
	}
	w.Flush()
	fmt.Fprintln(out)
	var wrong []string
	for _, s := range all {
		name := s.host.name()
		if first, last := thirds(s.samples, resident); first > 0 {
			fmt.Fprintf(out, "ratio soak-memory-%s %.3f\n", name, last/first)
		}
		if n := largest(s.samples); n > 0 {
			fmt.Fprintf(out, "figure soak-go-heap-%s %d MiB\n", name, n)
		}
		fmt.Fprintf(out, "figure soak-requests-%s %d requests\n", name, s.tally.requests.Load())
		fmt.Fprintf(out, "figure soak-unexpected-%s %d answers\n", name, s.tally.unexpected.Load())
		if n := s.tally.unexpected.Load(); n > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d", name, n))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("unexpected answers or ends: %s", strings.Join(wrong, ", "))
	}
	return nil
}
