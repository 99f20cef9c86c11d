package view

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
)

// needsCanary: more than one side to choose from, stickiness, or a condition that the decision should be told about.
func (e entry) needsCanary() bool {
	if e.rule.Canary != nil || len(e.route.Destinations) > 1 || e.route.Sticky != nil {
		return true
	}
	for _, m := range e.matches {
		r := m.Request
		if r.Method != nil || len(r.Headers)+len(r.Cookies)+len(r.Query) > 0 {
			return true
		}
	}
	return false
}

// choices gives the virtual host its canary rules, and an Envoy route for each answer that they can give.
func (s *scope) choices(vh *mesh.VirtualHost, entries []entry, at place) {
	cfg := &canary.Config{CountResponses: true}
	for _, e := range entries {
		if c := e.rule.Canary; c != nil && cfg.Lane == nil {
			cfg.Lane = c.Lane
		}
	}
	for i, e := range entries {
		if c := e.rule.Canary; c != nil && cfg.ResponseHeader == "" {
			cfg.ResponseHeader = c.ResponseHeader
		}
		rule := canary.Rule{Name: ruleName(e), Sticky: e.route.Sticky}
		for _, m := range e.matches {
			rule.Match = append(rule.Match, m.Request)
		}
		answers := sides(e.route, cfg.Lane != nil)
		rule.Steps = steps(e.route, answers)
		for _, side := range answers {
			side.Route = "r" + strconv.Itoa(i) + ".d" + strconv.Itoa(side.index)
			rule.Destinations = append(rule.Destinations, side.Destination)
			vh.Routes = append(vh.Routes, s.chosen(e, side, at)...)
		}
		cfg.Rules = append(cfg.Rules, rule)
	}
	vh.Canary = cfg
}

// ruleName is what metrics and the decision header call a route.
func ruleName(e entry) string {
	if e.route.Name != "" {
		return e.route.Name
	}
	return e.rule.Name + "." + strconv.Itoa(e.index)
}

// side is one answer of a rule; of is nil for redirects and direct responses.
type side struct {
	canary.Destination
	index int
	of    *mesh.Destination
}

// sides lists the answers. A destination of weight 0 is one only if something may lead to it all the same: a lane, or a step
// to come.
func sides(r *mesh.Route, lane bool) []*side {
	switch {
	case r.Redirect != nil:
		return []*side{{Destination: canary.Destination{Name: "redirect"}}}
	case r.Direct != nil:
		return []*side{{Destination: canary.Destination{Name: "direct"}}}
	}
	var out []*side
	taken := map[string]bool{}
	for i, d := range r.Destinations {
		if len(r.Destinations) > 1 && d.Weight == 0 && !lane && len(r.Steps) == 0 {
			continue
		}
		n := sideName(d, taken)
		taken[n] = true
		out = append(out, &side{Destination: canary.Destination{Name: n, Weight: d.Weight}, index: i, of: d})
	}
	return out
}

// steps are a route's, by the names of its sides.
func steps(r *mesh.Route, sides []*side) []canary.Step {
	var out []canary.Step
	for _, s := range r.Steps {
		weights := map[string]uint32{}
		for _, side := range sides {
			weights[side.Name] = s.Weights[side.index]
		}
		out = append(out, canary.Step{At: s.At, Weights: weights})
	}
	return out
}

// sideName is the subset, or the service's short name; longer where that would be ambiguous.
func sideName(d *mesh.Destination, taken map[string]bool) string {
	short, _, _ := strings.Cut(d.Hostname, ".")
	names := []string{d.Subset, short + "-" + d.Subset, fmt.Sprintf("%s|%d|%s", d.Hostname, d.Port, d.Subset)}
	if d.Subset == "" {
		names = []string{short, d.Hostname, fmt.Sprintf("%s|%d", d.Hostname, d.Port)}
	}
	for _, n := range names {
		if !taken[n] {
			return n
		}
	}
	n := names[2]
	for i := 2; taken[n]; i++ {
		n = fmt.Sprintf("%s.%d", names[2], i)
	}
	return n
}

// chosen makes the Envoy routes that one answer selects, one for each match.
func (s *scope) chosen(e entry, sd *side, at place) []*mesh.BoundRoute {
	base := s.bound(e, at)
	base.Fault = faultConfig(e.route)
	if sd.of != nil {
		base.Clusters = []*mesh.WeightedCluster{s.weighted(sd.of, at)}
		base.Clusters[0].Weight = 100
		base.Hash = s.hash([]*mesh.Destination{sd.of}, at)
	}
	out := perMatch(base, e)
	for i, b := range out {
		b.Choice = sd.Route
		if len(out) > 1 {
			b.Choice += "." + strconv.Itoa(i)
		}
	}
	return out
}
