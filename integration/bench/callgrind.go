package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// What a request costs in time depends on what else the machine does; how many instructions it takes does not. So with
// -callgrind every setup's Envoy runs under valgrind, alone, and serves n requests one after another.

// cost is how many instructions a request takes, by the file that they are in, and by function.
type cost struct {
	total     float64
	objects   map[string]float64
	functions map[string]float64 // "file: function"
}

// instructions prints a table of all setups, and the functions that cost most in our own files.
func instructions(ctx context.Context, out io.Writer, bin, dir string, all []*setup, n int) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "setup\tinstructions/request\tvs no filter\tvs native\tmore than no filter\tof them in Envoy\tin libmizzen.so\telsewhere\t")
	costs := map[*setup]cost{}
	for _, s := range all {
		c, err := s.count(ctx, bin, dir, n)
		if err != nil {
			return fmt.Errorf("setup %s: %w", s.name, err)
		}
		costs[s] = c
		bare, native := costs[all[0]], costs[all[min(1, len(costs)-1)]]
		more := c.total - bare.total
		envoy, own := c.objects["envoy"]-bare.objects["envoy"], c.objects["libmizzen.so"]
		fmt.Fprintf(w, "%s\t%.0f\t%.3f\t%.3f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", s.name, c.total, c.total/bare.total, c.total/native.total,
			more, envoy, own, more-envoy-own)
	}
	w.Flush()
	for _, s := range all {
		fmt.Fprintf(out, "figure instructions-%s %.0f instructions\n", s.slug(), costs[s].total)
		for _, f := range costs[s].dearest("libmizzen.so: ", 40) {
			fmt.Fprintf(out, "  %8.0f  %s\n", costs[s].functions[f], f)
		}
	}
	return nil
}

// dearest are the functions of a file that take the most instructions themselves.
func (c cost) dearest(prefix string, most int) []string {
	var names []string
	for f := range c.functions {
		if strings.HasPrefix(f, prefix) {
			names = append(names, f)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(c.functions[b] - c.functions[a]) })
	return names[:min(most, len(names))]
}

// count runs the setup's Envoy under callgrind and has it serve n requests, after as many that do not count.
func (s *setup) count(ctx context.Context, bin, dir string, n int) (cost, error) {
	sub := filepath.Join(dir, s.slug())
	if err := os.Mkdir(sub, 0o755); err != nil {
		return cost{}, err
	}
	wrapper, outFile := filepath.Join(sub, "valgrind-envoy"), filepath.Join(sub, "callgrind.out")
	script := fmt.Sprintf("#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file=%s %s \"$@\"\n", outFile, bin)
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		return cost{}, err
	}
	e, err := envoytest.Launch(wrapper, sub, envoytest.Options{Config: s.config, Module: s.module,
		Env: []string{"GODEBUG=asyncpreemptoff=1"}, ReadyTimeout: 5 * time.Minute}) // callgrind fails on the signals of preemption
	if e != nil {
		defer e.Stop()
	}
	if err != nil {
		return cost{}, err
	}
	clients, err := dial(e.Addr(10000), 1)
	if err != nil {
		return cost{}, err
	}
	defer hangUp(clients)
	for _, step := range []string{"--zero", "--dump"} {
		if err := clients[0].send(n); err != nil {
			return cost{}, err
		}
		if b, err := exec.CommandContext(ctx, "callgrind_control", step, strconv.Itoa(e.PID())).CombinedOutput(); err != nil {
			return cost{}, fmt.Errorf("run callgrind_control %s: %w: %s", step, err, b)
		}
	}
	return readCallgrind(outFile+".1", n)
}

// send sends n requests.
func (c *client) send(n int) error {
	if err := c.c.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return err
	}
	for range n {
		if _, err := io.WriteString(c.c, request); err != nil {
			return err
		}
		if err := readResponse(c.r); err != nil {
			return err
		}
	}
	return nil
}

// readCallgrind reads a profile (valgrind's manual, "Callgrind Format Specification") of n requests. Lines of costs are
// "position instructions"; the one after "calls=" is the callee's, and counted there.
func readCallgrind(file string, n int) (cost, error) {
	f, err := os.Open(file)
	if err != nil {
		return cost{}, fmt.Errorf("read callgrind's profile: %w", err)
	}
	defer f.Close()
	c := cost{objects: map[string]float64{}, functions: map[string]float64{}}
	names := map[string]string{} // "ob(1)" and "fn(1)"
	object, function, callee := "", "", false
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, assigns := strings.Cut(lines.Text(), "=")
		switch {
		case assigns && (key == "ob" || key == "fn" || key == "cob" || key == "cfn"):
			name := named(names, strings.TrimPrefix(key, "c"), value)
			if key == "ob" {
				object = filepath.Base(name)
			} else if key == "fn" {
				function = name
			}
		case assigns && key == "calls":
			callee = true
		case assigns || key == "" || !strings.ContainsRune("0123456789+-*", rune(key[0])):
		case callee:
			callee = false
		default:
			fields := strings.Fields(key)
			if len(fields) < 2 {
				continue
			}
			each, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				return cost{}, fmt.Errorf("read callgrind's profile: %w", err)
			}
			each /= float64(n)
			c.total += each
			c.objects[object] += each
			c.functions[object+": "+function] += each
		}
	}
	return c, lines.Err()
}

// named resolves "(1) name", which defines, and "(1)", which refers.
func named(names map[string]string, space, value string) string {
	id, name, defines := strings.Cut(value, " ")
	if defines {
		names[space+id] = name
	}
	return names[space+id]
}
