package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// sample is a process's memory.
type sample struct {
	resident int64 // bytes
	// heap bounds what Go's last garbage collection left, in MiB: it was less. 0: no Go runtime has told, as in a wasm VM.
	heap int64
}

// gcTrace makes a Go runtime in the process print a line for every garbage collection, which live finds again.
const gcTrace = "GODEBUG=gctrace=1"

// live is the heap in use at the end of a garbage collection, the third number of "4->5->2 MB".
var live = regexp.MustCompile(`^gc \d+ @.* \d+->\d+->(\d+) MB`)

// measure reads the resident size of a process, and the last garbage collection from its log.
func measure(pid int, log string) (sample, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return sample{}, fmt.Errorf("measure memory: %w", err)
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return sample{}, fmt.Errorf("measure memory: statm is %q", b)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return sample{}, fmt.Errorf("measure memory: %w", err)
	}
	s := sample{resident: pages * int64(os.Getpagesize())}
	if at := strings.LastIndex(log, "\ngc "); at >= 0 {
		if m := live.FindStringSubmatch(log[at+1:]); m != nil {
			s.heap, err = strconv.ParseInt(m[1], 10, 64)
			s.heap++ // whole MiB were told
		}
	}
	return s, err
}

// thirds are the means of the first and of the last third.
func thirds(samples []sample, of func(sample) int64) (first, last float64) {
	n := len(samples) / 3
	if n == 0 {
		return 0, 0
	}
	mean := func(part []sample) float64 {
		sum := 0.0
		for _, s := range part {
			sum += float64(of(s))
		}
		return sum / float64(len(part))
	}
	return mean(samples[:n]), mean(samples[len(samples)-n:])
}

func resident(s sample) int64 { return s.resident }

// largest is the highest bound of Go's heap.
func largest(samples []sample) int64 {
	n := int64(0)
	for _, s := range samples {
		n = max(n, s.heap)
	}
	return n
}
