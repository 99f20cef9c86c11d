package conformance

import (
	"encoding/json"
	"strings"
	"testing"
)

// A corpus is worth as much as what it notices: each of these cases expects something that is not so.
func TestRunNotices(t *testing.T) {
	const v2 = "config: {canary: {responseHeader: x-canary, rules: [{name: r, destinations: [{name: v2, cluster: v2}]}]}}\n  "
	const slow = "config: {fault: {rules: [{name: slow, delay: {percentage: 100, fixed: 1s}}]}}\n  "
	const half = "config: {fault: {rules: [{abort: {percentage: 50, httpStatus: 503}}]}}\n  "
	cases := []struct{ name, text, wrong string }{
		{"status", v2 + `steps: [{expect: {status: 201}}]`, "status 200, want 201"},
		{"cluster", v2 + `steps: [{expect: {cluster: v1}}]`, `upstream "v2", want "v1"`},
		{"cluster none", v2 + `steps: [{expect: {cluster: none}}]`, `upstream "v2", want "none"`},
		{"route", v2 + `steps: [{expect: {route: default}}]`, `route "by-cluster", want "default"`},
		{"response header", v2 + `steps: [{expect: {response: ["x-canary: r/v1"]}}]`, `x-canary is "r/v2", want "r/v1"`},
		{"header missing", v2 + `steps: [{expect: {response: ["x-other: 1"]}}]`, `x-other is missing`},
		{"header not absent", v2 + `steps: [{expect: {response: ["!x-canary"]}}]`, `want none`},
		{"upstream header", v2 + `steps: [{headers: ["x-a: 1"], expect: {upstream: ["x-a: 2"]}}]`, `x-a is "1", want "2"`},
		{"caught digits differ", v2 + `steps: [{headers: ["x-a: ab", "x-b: ac"], expect: {upstream: ["x-a: {v:2}", "x-b: {v}"]}}]`, `x-b is "ac"`},
		{"a hole that nothing fills", v2 + `steps: [{headers: ["x-a: {v}"]}]`, "nothing was caught"},
		{"annotation", v2 + `steps: [{expect: {annotations: {canary: r/v1}}}]`, `annotation canary is "r/v2"`},
		{"annotation not absent", v2 + `steps: [{expect: {annotations: {canary: null}}}]`, `want none`},
		{"counter", v2 + "steps: [{}]\n  counters: {\"canary_decisions_total{r,v2,off}\": 2}", "is 1, want 2"},
		{"waits longer", slow + `steps: [{expect: {waited: 0s}}]`, "waited 1s, want 0s"},
		{"waits shorter", slow + `steps: [{expect: {waited: 2s}}]`, "waited 1s, want 2s"},
		{"flags", slow + `steps: [{expect: {flags: []}}]`, `flags ["DI"], want []`},
		{"gone", slow + `steps: [{leaves: 10ms}]`, "left without an answer: true, want false"},
		{"never delayed", v2 + `steps: [{while: delayed, meanwhile: [{}]}]`, "it was never delayed"},
		{"meanwhile", slow + `steps: [{while: delayed, meanwhile: [{expect: {status: 404}}]}]`, "meanwhile[0]: status 200, want 404"},
		{"share", half + `steps: [{times: 400, expect: {shares: {"503": 0.2}}}]`, `are "503", want 80`},
		{"share of all", half + `steps: [{times: 100, expect: {shares: {"503": 1}}}]`, `are "503", want 100`},
		{"same", "config: {canary: {rules: [{name: r, destinations: [{name: v1, weight: 1, cluster: v1}, {name: v2, weight: 1, cluster: v2}]}]}}\n  steps: [{times: 64, expect: {same: true}}]", "another to"},
		{"bad configuration", `{config: {fault: {rule: []}}, steps: [{}]}`, "unknown field"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := "- case: x\n  " + c.text
			if strings.HasPrefix(c.text, "{") {
				text = "- {case: x, " + c.text[1:]
			}
			parsed, err := Parse("x", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(runCase(InProcess{}, parsed[0]).wrong, "\n"); !strings.Contains(got, c.wrong) {
				t.Errorf("noticed %q, want %q", got, c.wrong)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"- {case: x, stepz: []}": "stepz",
		"- {case: x}":            "a title and steps",
		"- {case: x, steps: [{expect: {same: true}}]}":                            "repeated step",
		"- {case: x, steps: [{while: asleep, meanwhile: [{}]}]}":                  "asleep",
		"- {case: x, steps: [{while: delayed}]}":                                  "belong together",
		"- {case: x, steps: [{times: 2, while: delayed, meanwhile: [{}]}]}":       "cannot wait",
		"- {case: x, needs: [luck], steps: [{}]}":                                 "luck",
		"- {case: x, steps: [{at: soon}]}":                                        "soon",
		"- {case: x, steps: [{while: delayed, meanwhile: [{while: delayed}]}]}\n": "steps[0].meanwhile",
	} {
		if _, err := Parse("x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

// Limits keep their state in the process, so cases that run in one Envoy must not share names.
func TestLimitNamesAreOfOneCase(t *testing.T) {
	cases, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 150 {
		t.Errorf("%d cases, want 150 at least", len(cases))
	}
	owner := map[string]*Case{}
	for _, c := range cases {
		configs := []JSON{c.Config}
		for _, r := range c.Routes {
			configs = append(configs, r.Config)
		}
		for _, raw := range configs {
			var parsed struct {
				RateLimit struct{ Limits []struct{ Name string } }
			}
			if raw != nil {
				if err := json.Unmarshal(raw, &parsed); err != nil {
					t.Fatalf("%s: %v", c.Title, err)
				}
			}
			for _, l := range parsed.RateLimit.Limits {
				if o := owner[l.Name]; o != nil && o != c {
					t.Errorf("limit %s is in %q and in %q", l.Name, o.Title, c.Title)
				}
				owner[l.Name] = c
			}
		}
	}
}
