package ratelimit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// What a request costs, in every algorithm: the status and the remaining quota of each request in turn.
func TestCost(t *testing.T) {
	type step struct {
		after     time.Duration // since the step before
		header    string        // x-cost
		status    string
		remaining string // of a refusal: retry-after
	}
	byHeader := &HitsAddend{Header: "X-Cost", Max: 6}
	first := []step{{0, "4", "200", "6"}, {0, "", "200", "5"}, {0, "x", "200", "4"}, {0, "0", "200", "3"}, {0, "-2", "200", "2"}}
	for _, c := range []struct {
		name  string
		limit Limit
		steps []step
	}{
		{"gcra", Limit{HitsAddend: byHeader}, append(slices.Clone(first),
			step{0, "3", "429", "6"}, step{0, "2", "200", "0"}, step{36 * time.Second, "7", "200", "0"}, step{0, "12345678901234567890", "429", "36"})},
		{"token bucket", Limit{HitsAddend: byHeader, Algorithm: AlgorithmTokenBucket}, append(slices.Clone(first),
			step{0, "3", "429", "60"}, step{0, "2", "200", "0"}, step{time.Minute, "7", "200", "4"}, step{0, "99", "429", "60"})},
		{"sliding window", Limit{HitsAddend: byHeader, Algorithm: AlgorithmSlidingWindow}, append(slices.Clone(first),
			step{30 * time.Second, "2", "200", "0"}, step{0, "3", "429", "34"}, step{34 * time.Second, "3", "200", "5"}, step{0, "6", "429", "30"})},
		{"number", Limit{HitsAddend: &HitsAddend{Number: 4}}, []step{{0, "1", "200", "6"}, {0, "", "200", "2"}, {0, "", "429", "12"}, {12 * time.Second, "", "200", "0"}}},
		{"more than the burst", Limit{HitsAddend: &HitsAddend{Header: "x-cost"}}, []step{{0, "11", "429", "6"}, {0, "10", "200", "0"}}},
		{"more than the bucket", Limit{HitsAddend: &HitsAddend{Header: "x-cost"}, Algorithm: AlgorithmTokenBucket}, []step{{0, "4000000000", "429", "60"}, {0, "10", "200", "0"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.limit.Name, c.limit.Requests, c.limit.Per = "l", 10, minute
			r := newRunner(t, Config{Limits: []Limit{c.limit}}, filtertest.Env())
			for i, s := range c.steps {
				r.Clock.Advance(s.after)
				var headers []string
				if s.header != "" {
					headers = []string{"x-cost: " + s.header}
				}
				got, told := r.Do(headers...), "x-ratelimit-remaining"
				if s.status == "429" {
					told = "retry-after"
				}
				if got.Status() != s.status || got.Response.Value(told) != s.remaining {
					t.Errorf("step %d: %s, %s %q, want %s, %q", i, got.Status(), told, got.Response.Value(told), s.status, s.remaining)
				}
			}
		})
	}
}

// A header that stands twice is no number.
func TestCostOfARepeatedHeader(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 10, Per: minute, HitsAddend: &HitsAddend{Header: "x-cost"}}}}, filtertest.Env())
	if got := r.Do("x-cost: 5", "x-cost: 5").Response.Value("x-ratelimit-remaining"); got != "9" {
		t.Errorf("remaining %s, want 9", got)
	}
}

// The service is told the cost; the refusal of a dear request is not remembered against cheaper ones.
func TestCostAtTheService(t *testing.T) {
	for _, c := range []struct {
		addend string
		asked  int
		hits   []uint64
	}{
		{`{"header":"x-cost","max":50}`, 5, []uint64{3, 50, 3, 2}},
		{`{"number":2}`, 3, []uint64{2, 2, 2}},
	} {
		r, f := globalRunner(t, fmt.Sprintf(`{"limits":[{"name":"g","requests":4,"per":"1m","scope":"global","hitsAddend":%s}],"global":{"cluster":"rls"}}`, c.addend))
		for _, h := range []string{"3", "99", "3", "2", "1", "1"} {
			r.Do("x-cost: " + h)
		}
		if len(f.asked) != c.asked || !slices.Equal(f.hits, c.hits) {
			t.Errorf("%s: asked %d times with %d, want %d with %d", c.addend, len(f.asked), f.hits, c.asked, c.hits)
		}
	}
}
