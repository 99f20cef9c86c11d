package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// setup is one Envoy under test.
type setup struct {
	name, config, module string
	envoy                *envoytest.Envoy
	clients              []*client
	rounds               []sample
	turns                []float64 // CPU per request of every turn, in nanoseconds
}

// sample is one round of one setup: all its turns together.
type sample struct {
	requests  int64
	took, cpu time.Duration // cpu of the Envoy process
	latencies []time.Duration
}

func (r sample) perRequest() float64 { return float64(r.cpu) / float64(r.requests) }
func (r sample) rps() float64        { return float64(r.requests) / r.took.Seconds() }

// p99 is the latency, in nanoseconds, that one in a hundred requests exceeds.
func (r sample) p99() float64 {
	all := slices.Sorted(slices.Values(r.latencies))
	return float64(all[len(all)*99/100])
}

func (s *setup) start(bin, dir string, connections int) (err error) {
	sub := filepath.Join(dir, s.name)
	if err := os.Mkdir(sub, 0o755); err != nil {
		return err
	}
	s.envoy, err = envoytest.Launch(bin, sub, envoytest.Options{Config: s.config, Module: s.module, Concurrency: 1,
		ReadyTimeout: 5 * time.Minute}) // V8 compiles for long on a busy machine
	if err == nil {
		s.clients, err = dial(s.envoy.Addr(10000), connections)
	}
	return err
}

func (s *setup) stop() {
	hangUp(s.clients)
	if s.envoy != nil {
		s.envoy.Stop()
	}
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
	latencies, err := load(s.clients, d)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := cpuTime(s.envoy.PID())
	if err != nil {
		return err
	}
	n := int64(len(latencies))
	r := &s.rounds[len(s.rounds)-1]
	r.latencies = append(r.latencies, latencies...)
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
