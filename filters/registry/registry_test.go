package registry

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

func TestKindsAreInChainOrder(t *testing.T) {
	var names []string
	for _, k := range Kinds() {
		names = append(names, k.Name)
		if k.Reason == "" || k.New == nil {
			t.Errorf("kind %s: no reason or no New", k.Name)
		}
	}
	if want := []string{"tracing", "canary", "ratelimit", "fault"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if len(names) > filter.MaxPolicies {
		t.Errorf("%d policies, at most %d fit", len(names), filter.MaxPolicies)
	}
}

func TestParse(t *testing.T) {
	cases := []struct {
		name, raw  string
		configured []string
		disabled   []string
		closed     bool
		err        string // part of the error; "" for none
	}{
		{name: "nothing", raw: ""},
		{name: "empty", raw: "{}"},
		{name: "one", raw: `{"fault":{"rules":[]}}`, configured: []string{"fault"}},
		{name: "two, one off", raw: `{"tracing":{},"fault":null}`, configured: []string{"tracing"}, disabled: []string{"fault"}},
		{name: "closed", raw: `{"failure":"closed"}`, closed: true},
		{name: "open", raw: `{"failure":"open"}`},
		{name: "unknown policy", raw: `{"falt":{}}`, err: `unknown field "falt": want failure, tracing, canary, ratelimit, fault`},
		{name: "unknown field", raw: `{"ratelimit":{"limit":[]}}`, err: "configure policy ratelimit: "},
		{name: "invalid", raw: `{"fault":{"rules":[{"abort":{"percentage":200,"httpStatus":500}}]}}`, err: "configure policy fault: "},
		{name: "bad failure", raw: `{"failure":"shut"}`, err: `want "open" or "closed"`},
		{name: "not JSON", raw: `{`, err: "parse mizzen configuration: "},
		{name: "trailing", raw: `{} {}`, err: "something follows"},
		{name: "not an object", raw: `[]`, err: "parse mizzen configuration: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse([]byte(c.raw), NewEnv())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var configured, disabled []string
			for i, name := range p.Names {
				if p.Policies[i] != nil {
					configured = append(configured, name)
				}
				if p.Disabled[i] {
					disabled = append(disabled, name)
				}
			}
			if !slices.Equal(configured, c.configured) || !slices.Equal(disabled, c.disabled) || p.FailClosed != c.closed {
				t.Errorf("configured %v, disabled %v, closed %v", configured, disabled, p.FailClosed)
			}
		})
	}
}

func TestConfigMarshals(t *testing.T) {
	present := match.String{Present: true}
	full := Config{
		Failure:   FailClosed,
		Tracing:   &tracing.Config{},
		Canary:    &canary.Config{Rules: []canary.Rule{{Name: "r", Destinations: []canary.Destination{{Name: "v1", Route: "r0.d0"}}}}},
		RateLimit: &ratelimit.Config{Limits: []ratelimit.Limit{{Name: "l", Requests: 1, Per: filter.Duration(time.Second)}}},
		Fault:     &fault.Config{Rules: []fault.Rule{{Match: []match.Request{{Headers: []match.Named{{Name: "x", String: present}}}}, Abort: &fault.Abort{Percentage: filter.Whole, HTTPStatus: 503}}}},
	}
	cases := []struct {
		name string
		in   Config
		want string // "" only parses it
	}{
		{"zero", Config{}, `{}`},
		{"off", Config{Off: []string{"fault", "canary", "fault"}}, `{"canary":null,"fault":null}`},
		{"failure and off", Config{Failure: FailOpen, Off: []string{"fault"}}, `{"failure":"open","fault":null}`},
		{"full", full, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := json.Marshal(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if c.want != "" && string(b) != c.want {
				t.Errorf("got %s, want %s", b, c.want)
			}
			if _, err := Parse(b, NewEnv()); err != nil {
				t.Errorf("Parse refuses %s: %v", b, err)
			}
		})
	}
	if _, err := json.Marshal(Config{Fault: &fault.Config{}, Off: []string{"fault"}}); err == nil {
		t.Error("a policy that is both configured and off was written")
	}
}

// counter holds a pointer, so that it has a block of memory to itself: one that it shared could keep it alive.
type counter struct {
	n int
	_ *int
}

func TestSharedLivesAsLongAsItsUsers(t *testing.T) {
	env := NewEnv()
	made := 0
	get := func() *counter {
		return env.Shared("k", func() any { made++; return &counter{} }).(*counter)
	}
	first := get()
	first.n = 7
	runtime.GC()
	if again := get(); again != first || made != 1 {
		t.Fatalf("made %d times, the same: %v", made, again == first)
	}
	if first.n != 7 {
		t.Fatal("the value changed")
	}
	first = nil
	for range 100 {
		runtime.GC()
		if get().n == 0 {
			break
		}
	}
	if made < 2 {
		t.Error("the value outlived its users")
	}
	if env.Shared("other", func() any { return &counter{n: 1} }).(*counter).n != 1 {
		t.Error("keys share a value")
	}
}
