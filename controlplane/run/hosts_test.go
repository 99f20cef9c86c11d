package run

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// TestHostFindings: what a host leaves out or does otherwise is told with the field, and what it does is not.
func TestHostFindings(t *testing.T) {
	minute, yes := filter.Duration(60e9), true
	limit := func(onError string) *mesh.LimitPolicy {
		return &mesh.LimitPolicy{Config: ratelimit.Config{Limits: []ratelimit.Limit{
			{Name: "a", Requests: 1, Per: minute, Scope: ratelimit.ScopeGlobal, OnError: onError},
		}}}
	}
	service := mesh.Settings{LimitService: &mesh.LimitService{Address: "192.0.2.1", Port: 8081}}
	traced := func(r mesh.TraceRule) *mesh.Tracing {
		return &mesh.Tracing{Policies: []*mesh.TracePolicy{{Rules: []*mesh.TraceRule{&r}}}}
	}
	steps := []*mesh.HostRules{{Routes: []*mesh.Route{{Steps: []*mesh.Step{{}}}}}}
	for name, tc := range map[string]struct {
		host  mesh.FilterHost
		world mesh.World
		want  string // code and path; "": nothing
	}{
		"steps":                   {mesh.HostNative, mesh.World{Rules: steps}, "MZ0605 metadata.annotations[mizzen.dev/steps]"},
		"steps in the module":     {mesh.HostModule, mesh.World{Rules: steps}, ""},
		"steps in wasm":           {mesh.HostWasm, mesh.World{Rules: steps}, ""},
		"global, no service":      {mesh.HostNative, mesh.World{Limits: []*mesh.LimitPolicy{limit("allow")}}, "MZ0606 spec.limits[0]"},
		"global":                  {mesh.HostNative, mesh.World{Settings: service, Limits: []*mesh.LimitPolicy{limit("allow"), limit("deny")}}, ""},
		"global with a fall-back": {mesh.HostNative, mesh.World{Settings: service, Limits: []*mesh.LimitPolicy{limit("")}}, "MZ0606 spec.limits[0]"},
		"spans":                   {mesh.HostNative, mesh.World{Tracing: traced(mesh.TraceRule{Provider: &mesh.TraceProvider{}})}, "MZ0606 spec.tracing[0]"},
		"golang, no service":      {mesh.HostGolang, mesh.World{Rules: steps, Limits: []*mesh.LimitPolicy{limit("")}}, ""},
		"golang, global":          {mesh.HostGolang, mesh.World{Settings: service, Limits: []*mesh.LimitPolicy{limit("deny")}}, "MZ0606 spec.limits[0]"},
		"golang, spans":           {mesh.HostGolang, mesh.World{Tracing: traced(mesh.TraceRule{Provider: &mesh.TraceProvider{}})}, "MZ0606 spec.tracing[0]"},
		"spans by Envoy":          {mesh.HostNative, mesh.World{Tracing: traced(mesh.TraceRule{Provider: &mesh.TraceProvider{}, Envoy: &yes})}, ""},
	} {
		var got []string
		for _, d := range HostFindings(&tc.world, tc.host) {
			got = append(got, d.Code+" "+d.Path)
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%s: %q, want %q", name, s, tc.want)
		}
	}
}
