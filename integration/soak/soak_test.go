package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func TestExplain(t *testing.T) {
	g0, g1, g2 := newGeneration(0), newGeneration(1), newGeneration(2) // weights 100:0, 90:10, 0:100
	ok := func(canary, body string) answer { return answer{200, canary, body, time.Second} }
	cases := []struct {
		name   string
		kind   kind
		answer answer
		in     []generation
		err    string // part of the error; "" for none
	}{
		{"a side", plain, ok("all/v1", "v1 01 0"), []generation{g0}, ""},
		{"a side of weight 0", plain, ok("all/v2", "v2 01 0"), []generation{g0}, `decision "all/v2"`},
		{"which the next one has", plain, ok("all/v2", "v2 01 0"), []generation{g0, g1}, ""},
		{"another upstream", plain, ok("all/v1", "v2 01 0"), []generation{g0}, "but the upstream says"},
		{"a trace gone wrong", plain, ok("all/v1", "v1 bad: traceparent "), []generation{g0}, "but the upstream says"},
		{"unsampled", plain, ok("all/v1", "v1 00 0"), []generation{g0}, "no listener in force"},
		{"the wrong rule", tester, ok("all/v2", "v2 01 0"), []generation{g1}, `decision "all/v2"`},
		{"a tester", tester, ok("testers/v2", "v2 01 0"), []generation{g0}, ""},
		{"no canary", plain, ok("", "v1 01 0"), []generation{g0}, `decision ""`},
		{"a delay", slow, answer{200, "all/v1", "v1 01 0", g0.delay}, []generation{g0}, ""},
		{"a short delay", slow, answer{200, "all/v1", "v1 01 0", g0.delay - 1}, []generation{g0}, "took 19.999999ms"},
		{"a body", upload, ok("all/v1", "v1 01 20000"), []generation{g0}, ""},
		{"half a body", upload, ok("all/v1", "v1 01 10000"), []generation{g0}, "but the upstream says"},
		{"an abort", dead, answer{503, "all/v1", "", 0}, []generation{g0}, ""},
		{"an abort of the past", dead, answer{503, "all/v2", "", 0}, []generation{g1, g2}, "status 503 instead of"},
		{"no abort", dead, ok("all/v1", "v1 01 0"), []generation{g0}, "status 200 instead of 503"},
		{"a refusal", over, answer{429, "all/v1", "", 0}, []generation{g0}, ""},
		{"none", over, ok("all/v1", "v1 01 0"), []generation{g0}, "status 200 instead of 429"},
		{"an error of Envoy's", plain, answer{503, "", "no healthy upstream", 0}, []generation{g0}, "status 503"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := explain(c.kind, c.answer, c.in, []generation{newGeneration(0)})
			if got := err; (got == nil) != (c.err == "") || got != nil && !strings.Contains(got.Error(), c.err) {
				t.Errorf("got %v, want %q", got, c.err)
			}
		})
	}
}

func TestShares(t *testing.T) {
	sum := 0
	for _, s := range shares {
		sum += s
	}
	if sum != 1000 {
		t.Errorf("the shares sum up to %d", sum)
	}
}

func TestThirds(t *testing.T) {
	var samples []sample
	for i := range 9 {
		samples = append(samples, sample{resident: int64(100 + i)})
	}
	if first, last := thirds(samples, resident); first != 101 || last != 107 {
		t.Errorf("got %v and %v", first, last)
	}
	m := live.FindStringSubmatch("gc 12 @3.456s 1%: 0.1+2+0.03 ms clock, 0.2+1/2/0+0.06 ms cpu, 4->5->2 MB, 5 MB goal, 0 MB stacks, 0 MB globals, 2 P")
	if m == nil || m[1] != "2" {
		t.Errorf("the line of a garbage collection was not understood: %v", m)
	}
}

// A soak of some seconds, with one change of the listener, on the dynamic module.
func TestSoak(t *testing.T) {
	envoytest.Find(t)
	so := envoytest.Module(t)
	var out, log bytes.Buffer
	o := options{duration: 7 * time.Second, connections: 8, hosts: "dynamic-module", build: filepath.Dir(so)}
	if err := run(context.Background(), o, &out, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{"ratio soak-memory-dynamic-module ", "figure soak-unexpected-dynamic-module 0 answers"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
