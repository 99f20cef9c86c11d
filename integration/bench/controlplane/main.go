// Command controlplane measures the control plane at size: `mizzen controlplane` over a directory of ServiceEntries of ten
// endpoints, each with a VirtualService, all on one HTTP port, followed by simulated delta ADS clients of 100 namespaces. It prints
// how long the first configuration takes, and what a change costs. `make bench-controlplane` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	bin := flag.String("mizzen", "bin/mizzen", "the program")
	only := flag.String("only", "", "run one setup, as SERVICESxCLIENTS")
	flag.Parse()
	if err := all(*bin, *only); err != nil {
		fmt.Fprintln(os.Stderr, "error: measure control plane:", err)
		os.Exit(1)
	}
}

// setup is one size.
type setup struct{ services, clients int }

func (s setup) String() string { return fmt.Sprintf("%dx%d", s.services, s.clients) }

func all(bin, only string) error {
	setups := []setup{{1000, 1}, {1000, 100}, {1000, 1000}, {100, 100}, {10000, 100}}
	if only != "" {
		var s setup
		if _, err := fmt.Sscanf(only, "%dx%d", &s.services, &s.clients); err != nil {
			return fmt.Errorf("read -only %q: %w", only, err)
		}
		setups = []setup{s}
	}
	costs := map[setup]result{}
	for _, s := range setups {
		r, err := measure(bin, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		costs[s] = r
		r.print(s)
	}
	small, big := costs[setup{100, 100}], costs[setup{10000, 100}]
	if small.changes != nil && big.changes != nil {
		fmt.Printf("ratio cost-10000-vs-100-services %.2f\n", big.changes[0].cpu.Seconds()/small.changes[0].cpu.Seconds())
	}
	return nil
}

// change is what one kind of change costs: times are medians over its rounds, CPU and bytes the mean.
type change struct {
	name                string
	first, median, last time.Duration
	cpu                 time.Duration
	bytes               int64 // to each client
}

type result struct {
	first    time.Duration // until the last client has everything
	firstCPU time.Duration
	bytes    int64 // of the first configuration, to each client
	peak     int64 // bytes of memory
	changes  []change
}

func (r result) print(s setup) {
	fmt.Printf("%d services, %d clients: all have everything after %.2f s, server CPU %.2f s, %.2f MB each, peak memory %d MB\n",
		s.services, s.clients, r.first.Seconds(), r.firstCPU.Seconds(), float64(r.bytes)/1e6, r.peak>>20)
	for _, c := range r.changes {
		fmt.Printf("  %-28s first %4d ms, median %4d ms, last %4d ms, CPU %.4f s, %d bytes a client\n", c.name,
			c.first.Milliseconds(), c.median.Milliseconds(), c.last.Milliseconds(), c.cpu.Seconds(), c.bytes)
	}
	fmt.Printf("figure first-config-%s %.2f s\nfigure first-config-cpu-%s %.2f s\nfigure peak-memory-%s %d MB\n", s, r.first.Seconds(), s, r.firstCPU.Seconds(), s, r.peak>>20)
	for _, c := range r.changes {
		k := strings.ReplaceAll(c.name, " ", "-")
		fmt.Printf("figure %s-last-%s %d ms\nfigure %s-cpu-%s %.4f s\nfigure %s-bytes-%s %d B\n",
			k, s, c.last.Milliseconds(), k, s, c.cpu.Seconds(), k, s, c.bytes)
	}
}

// patience bounds every wait.
const patience = 5 * time.Minute

func measure(bin string, s setup) (r result, err error) {
	dir, err := os.MkdirTemp("", "bench-controlplane-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	in := input{dir}
	if err := in.fill(s.services); err != nil {
		return r, err
	}
	srv, err := start(bin, dir)
	if err != nil {
		return r, err
	}
	defer srv.stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := &fleet{services: s.services}
	g, ctx := errgroup.WithContext(ctx)
	before, begin := srv.cpu(), time.Now()
	for i := range s.clients {
		g.Go(func() error { return f.run(ctx, srv.address, i) })
	}
	if err := f.awaitAll(ctx, g, s.clients); err != nil {
		return r, err
	}
	r.first, r.firstCPU, r.bytes = time.Since(begin), srv.cpu()-before, f.bytes.Load()/int64(s.clients)
	for _, c := range changes(in, s) {
		one, err := c.run(f, srv, s.clients)
		if err != nil {
			return r, err
		}
		r.changes = append(r.changes, one)
	}
	r.peak = srv.peak()
	cancel()
	return r, g.Wait()
}

// awaitAll waits until every client has everything.
func (f *fleet) awaitAll(ctx context.Context, g *errgroup.Group, clients int) error {
	deadline := time.Now().Add(patience)
	for f.complete.Load() < int64(clients) {
		if ctx.Err() != nil {
			return errors.Join(errors.New("a client ended"), g.Wait())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d clients have everything after %s", f.complete.Load(), clients, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// trial is one kind of change, made several times: the CPU clock ticks every 10 ms, and one change may cost less than that.
type trial struct {
	name   string
	rounds int
	make   func(round int) error
	expect func(round int) string // the resource that tells that a client has it
}

func changes(in input, s setup) []trial {
	at := s.services / 2
	return []trial{
		{"one VirtualService changed", 50, func(n int) error { return in.rule(at, 1000+n) }, func(int) string { return "8080/" + hostOf(at) + ":8080" }},
		{"one endpoint changed", 50, func(n int) error { return in.service(at, 100+n) }, func(int) string { return "outbound|8080||" + hostOf(at) }},
		{"one service added", 10, func(n int) error { return in.service(s.services+n, 10) }, func(n int) string { return "8080/" + hostOf(s.services+n) + ":8080" }},
	}
}

func (t trial) run(f *fleet, srv *server, clients int) (change, error) {
	var firsts, medians, lasts []time.Duration
	srv.settle()
	before, bytes := srv.cpu(), f.bytes.Load()
	for n := range t.rounds {
		done := f.await(t.expect(n), clients)
		if err := t.make(n); err != nil {
			return change{}, err
		}
		select {
		case <-done:
		case <-time.After(patience):
			return change{}, fmt.Errorf("%s: not every client has it after %s", t.name, patience)
		}
		f.mu.Lock()
		seen := slices.Clone(f.seen)
		f.mu.Unlock()
		slices.Sort(seen)
		firsts, medians, lasts = append(firsts, seen[0]), append(medians, seen[len(seen)/2]), append(lasts, seen[len(seen)-1])
	}
	srv.settle()
	return change{
		t.name, middle(firsts), middle(medians), middle(lasts),
		(srv.cpu() - before) / time.Duration(t.rounds), (f.bytes.Load() - bytes) / int64(clients*t.rounds),
	}, nil
}

func middle[T ~int64](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// server is the process that is measured.
type server struct {
	cmd     *exec.Cmd
	address string
}

func start(bin, dir string) (*server, error) {
	cmd := exec.Command(bin, "controlplane", "--config", dir, "--xds-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--log-level", "info")
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd}
	found := make(chan string, 1)
	go scan(errs, found)
	select {
	case s.address = <-found:
	case <-time.After(30 * time.Second):
	}
	if s.address == "" {
		s.stop()
		return nil, errors.New("the control plane did not start")
	}
	return s, nil
}

// scan finds the address in the log, and reads the rest so that the process never waits.
func scan(r io.Reader, found chan<- string) {
	buf, text := make([]byte, 4096), ""
	for {
		n, err := r.Read(buf)
		if text += string(buf[:n]); found != nil {
			if _, rest, ok := strings.Cut(text, "xds="); ok && strings.ContainsAny(rest, " \n") {
				found <- rest[:strings.IndexAny(rest, " \n")]
				found = nil
			}
		}
		if found == nil {
			text = ""
		}
		if err != nil {
			return
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// cpu is what the process has used, in ticks of 10 ms.
func (s *server) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// settle waits until the process has been idle for a while, so that a change's cost is all there.
func (s *server) settle() {
	for last, same := s.cpu(), 0; same < 15; {
		time.Sleep(20 * time.Millisecond)
		if now := s.cpu(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
}

// peak is the most memory that the process has held, bytes.
func (s *server) peak() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kb << 10
}
