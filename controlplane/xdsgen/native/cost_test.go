package native

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

func TestUpTo(t *testing.T) {
	for _, most := range []int{1, 6, 9, 10, 19, 20, 100, 109, 305, 999, 1000, 1234} {
		re := regexp.MustCompile("^(?:" + upTo(uint32(most)) + ")$")
		for n := range 12_000 {
			if got, want := re.MatchString(strconv.Itoa(n)), n >= 1 && n <= most; got != want {
				t.Fatalf("up to %d: %d matches: %v", most, n, got)
			}
		}
		for _, s := range []string{"", "01", "-1", "x", "1x"} {
			if re.MatchString(s) {
				t.Errorf("up to %d: %q matches", most, s)
			}
		}
	}
}

// A cost by header is three limits with one descriptor, whatever else the limit looks at; the service is asked alike.
func TestCostByHeader(t *testing.T) {
	query := []match.Named{{Name: "q", String: is("v")}}
	base := ratelimit.Limit{Name: "a", Requests: 9, Per: filter.Duration(time.Second), HitsAddend: &ratelimit.HitsAddend{Header: "x-cost", Max: 5}}
	for name, tc := range map[string]struct {
		match  []match.Request
		global int
	}{
		"bare":   {nil, 3},
		"header": {[]match.Request{{Headers: []match.Named{{Name: "h", String: is("v")}}}}, 3},
		"query":  {[]match.Request{{Query: query}}, 0},
	} {
		l := base
		l.Match = tc.match
		c, refused := Limits(&ratelimit.Config{Limits: []ratelimit.Limit{l}}, "s")
		if len(refused) > 0 || len(c.RateLimits) != 3 || len(c.Descriptors) != 1 {
			t.Fatalf("%s: %v, %v", name, c, refused)
		}
		for i, format := range []string{"%REQ(x-cost)%", "", ""} {
			if got := c.RateLimits[i].HitsAddend.GetFormat(); got != format {
				t.Errorf("%s: limit %d: format %q, want %q", name, i, got, format)
			}
		}
		if n := c.RateLimits[1].HitsAddend.GetNumber().GetValue(); n != 5 || c.RateLimits[2].HitsAddend != nil {
			t.Errorf("%s: the most is %d, the rest costs %v", name, n, c.RateLimits[2].HitsAddend)
		}
		l.Scope, l.OnError = ratelimit.ScopeGlobal, ratelimit.OnErrorAllow
		g, refused := Global(&ratelimit.Config{Limits: []ratelimit.Limit{l}, Global: &ratelimit.Global{Cluster: "c"}}, false)
		if len(g.GetRateLimits()) != tc.global || (len(refused) > 0) != (tc.global == 0) {
			t.Errorf("%s: globally %v, %v", name, g, refused)
		}
		if err := g.ValidateAll(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
