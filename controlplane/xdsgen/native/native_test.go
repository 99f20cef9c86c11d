package native

import (
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

func is(s string) match.String { return match.String{Exact: &s} }

// TestLimits: what Envoy can count it counts, and the rest is named without harm to it.
func TestLimits(t *testing.T) {
	second, minute := filter.Duration(time.Second), filter.Duration(time.Minute)
	ok := ratelimit.Limit{Name: "ok", Requests: 5, Per: minute, Key: []match.Key{{Header: "x-user"}, {Query: "q"}}}
	for name, tc := range map[string]struct {
		limit ratelimit.Limit
		why   string
		kept  bool
	}{
		"fine":           {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Match: []match.Request{{Headers: []match.Named{{Name: "h", String: is("v")}}}}}, "", false},
		"path":           {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Match: []match.Request{{Path: &match.String{Exact: new(string)}}}}, "", false},
		"source":         {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Key: []match.Key{{SourceAddress: true}}}, "", false},
		"network":        {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Key: []match.Key{{SourceAddress: true, IPv4Prefix: 24}}}, "", false},
		"concurrency":    {ratelimit.Limit{Name: "a", Concurrency: 3}, "in progress", false},
		"sliding window": {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Algorithm: ratelimit.AlgorithmSlidingWindow}, "sliding window", false},
		"odd period":     {ratelimit.Limit{Name: "a", Requests: 1, Per: filter.Duration(1001 * time.Millisecond)}, "in step", false},
		"cookie key":     {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Key: []match.Key{{Cookie: "c"}}}, "no such key", false},
		"cookie match":   {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Match: []match.Request{{Cookies: []match.Named{{Name: "c", String: is("v")}}}}}, "cookies", false},
		"cost":           {ratelimit.Limit{Name: "a", Requests: 9, Per: second, HitsAddend: &ratelimit.HitsAddend{Number: 2}}, "", false},
		"two matches":    {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Match: make([]match.Request, 2)}, "twice", false},
		"override":       {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Overrides: make([]ratelimit.Override, 1)}, "override", false},
		"global":         {ratelimit.Limit{Name: "a", Requests: 1, Per: second, Scope: ratelimit.ScopeGlobal}, "each replica has", true},
	} {
		c, refused := Limits(&ratelimit.Config{Limits: []ratelimit.Limit{ok, tc.limit}}, "s")
		if (len(refused) > 0) != (tc.why != "") || tc.why != "" && (refused[0].Index != 1 || !strings.Contains(refused[0].Why.Error(), tc.why) || refused[0].Kept != tc.kept) {
			t.Errorf("%s: refused %+v", name, refused)
		}
		want := 2 // limits in force
		if tc.why != "" && !tc.kept {
			want = 1
		}
		// ok has a descriptor for each of its key's parts being there or not.
		if len(c.RateLimits) != want || len(c.Descriptors) < 4+want-1 {
			t.Errorf("%s: %d limits, %d descriptors", name, len(c.RateLimits), len(c.Descriptors))
		}
		if err := c.ValidateAll(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, refused := Limits(&ratelimit.Config{Limits: []ratelimit.Limit{{Name: "a", Concurrency: 3}}}, "s"); c != nil || len(refused) != 1 {
		t.Errorf("nothing left: %v, %v", c, refused)
	}
}

// TestGlobal: what a service counts is its filter's, not the local one's, and what differs is named.
func TestGlobal(t *testing.T) {
	limit := ratelimit.Limit{Name: "a", Requests: 1, Per: filter.Duration(time.Second), Scope: ratelimit.ScopeGlobal, OnError: ratelimit.OnErrorAllow}
	with := func(change func(*ratelimit.Limit)) ratelimit.Limit {
		l := limit
		change(&l)
		return l
	}
	half := filter.Whole / 2
	for name, tc := range map[string]struct {
		limit ratelimit.Limit
		deny  bool
		why   string
		kept  bool
	}{
		"allow": {limit: limit},
		"deny":  {limit: with(func(l *ratelimit.Limit) { l.OnError = ratelimit.OnErrorDeny }), deny: true},
		"what the service knows": {limit: with(func(l *ratelimit.Limit) {
			l.Algorithm, l.Key, l.Overrides = ratelimit.AlgorithmSlidingWindow, []match.Key{{Header: "x-user"}, {SourceAddress: true}}, make([]ratelimit.Override, 1)
			l.Match = []match.Request{{Headers: []match.Named{{Name: "h", String: is("v")}}, Query: []match.Named{{Name: "q", String: is("v")}}}}
		})},
		"local":       {with(func(l *ratelimit.Limit) { l.OnError = "" }), false, "is away", true},
		"status":      {with(func(l *ratelimit.Limit) { l.Status = 503 }), false, "429", true},
		"fraction":    {with(func(l *ratelimit.Limit) { l.Enabled = &half }), false, "one fraction", true},
		"cookie key":  {with(func(l *ratelimit.Limit) { l.Key = []match.Key{{Cookie: "c"}} }), false, "no such key", false},
		"two matches": {with(func(l *ratelimit.Limit) { l.Match = make([]match.Request, 2) }), false, "twice", false},
	} {
		c := &ratelimit.Config{Limits: []ratelimit.Limit{tc.limit}, Global: &ratelimit.Global{Cluster: "service"}}
		if local, refused := Limits(c, "s"); local != nil || len(refused) > 0 {
			t.Errorf("%s: the local filter has %v, %v", name, local, refused)
		}
		if other, refused := Global(c, !tc.deny); other != nil || len(refused) > 0 {
			t.Errorf("%s: the other filter has %v, %v", name, other, refused)
		}
		got, refused := Global(c, tc.deny)
		if (len(refused) > 0) != (tc.why != "") || tc.why != "" && (!strings.Contains(refused[0].Why.Error(), tc.why) || refused[0].Kept != tc.kept) {
			t.Errorf("%s: refused %+v", name, refused)
		}
		if (got != nil) != (tc.why == "" || tc.kept) {
			t.Errorf("%s: %v", name, got)
		} else if got != nil && got.ValidateAll() != nil {
			t.Errorf("%s: %v", name, got.ValidateAll())
		}
	}
}

func TestRefusals(t *testing.T) {
	key := &match.Key{Header: "x-user"}
	for name, r := range map[string]fault.Rule{
		"key":          {Key: key, Abort: &fault.Abort{HTTPStatus: 500}},
		"schedule":     {Until: time.Unix(1, 0), Abort: &fault.Abort{HTTPStatus: 500}},
		"distribution": {Delay: &fault.Delay{Distribution: &fault.Distribution{Kind: "uniform"}}},
		"after":        {Abort: &fault.Abort{HTTPStatus: 500, AfterResponse: true}},
	} {
		if got, err := Fault(&r, &fault.Config{}); err == nil {
			t.Errorf("fault %s: %v", name, got)
		}
	}
	if got, err := Sticky(&canary.Sticky{Key: match.Key{TraceID: true}}); err == nil {
		t.Errorf("sticky by trace: %v", got)
	}
}
