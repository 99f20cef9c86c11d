// Package canary shares traffic between versions: ordered rules over what the request says, weighted destinations,
// and stickiness that keeps a user on one side while a weight grows. README.md shows it by example.
package canary

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Metrics of the policy.
var (
	// MetricDecisions counts decisions. Label sticky: "off" (the rule is not sticky), "key" (the key decided), "new"
	// (a new key was made, and goes out in a cookie), "missing" (the request has no key, so it was drawn), "lane".
	MetricDecisions = &filter.Metric{Name: "canary_decisions_total", Help: "Canary decisions.", Labels: []string{"rule", "destination", "sticky"}}
	// MetricResponses counts responses, if CountResponses says so. Label class: "2xx" and so on by the status; a gRPC
	// error that came without a body counts as the status it stands for.
	MetricResponses = &filter.Metric{Name: "canary_responses_total", Help: "Responses by canary decision and class of status.", Labels: []string{"rule", "destination", "class"}}
	// MetricForged counts requests that came with an internal header.
	MetricForged = &filter.Metric{Name: "canary_forged_total", Help: "Requests that carried an internal canary header, which was removed."}
)

// Kind describes the policy to the registry.
func Kind() filter.Kind {
	return filter.Kind{
		Name:   "canary",
		Reason: "it chooses the route, so it stands before everything that depends on the route",
		New: func(raw []byte, env *filter.Env) (filter.Policy, error) {
			c, err := ParseConfig(raw)
			if err != nil {
				return nil, err
			}
			return New(c, env)
		},
		Metrics: []*filter.Metric{MetricDecisions, MetricResponses, MetricForged},
	}
}

// policy is a compiled Config. Immutable.
type policy struct {
	rules    []rule
	response string // response header, "" for none
	counts   bool   // responses
	lane     *lane
}

type rule struct {
	name  string
	match *match.Any
	// decisions holds one per destination; the sides of every stage run parallel.
	decisions []decision
	stages    []stage // at least one; in order of time
	sticky    *sticky
}

// decision is all that is needed once a destination is chosen, made beforehand.
type decision struct {
	text   string // rule/destination
	lane   string // destination, encoded for baggage
	header string
	values []string // of header, one per match entry
	labels [ways][]string
	counts [classes][]string
}

// way is how a decision came about.
type way uint8

const (
	byChance way = iota
	byKey
	byNewKey
	byMissing
	byLane
	ways
)

// wayLabels are the values of the label "sticky".
var wayLabels = [ways]string{"off", "key", "new", "missing", "lane"}

// New makes the policy. It keeps nothing in env.
func New(c Config, _ *filter.Env) (filter.Policy, error) {
	return build(c)
}

func build(c Config) (*policy, error) {
	p := &policy{response: strings.ToLower(c.ResponseHeader), counts: c.CountResponses}
	if err := checkResponseHeader(c.ResponseHeader); err != nil {
		return nil, err
	}
	var err error
	if p.lane, err = newLane(c.Lane); err != nil {
		return nil, err
	}
	for i, r := range c.Rules {
		if r.Sticky == nil {
			r.Sticky = c.Sticky
		}
		built, err := newRule(r)
		if err != nil {
			return nil, fmt.Errorf("rules[%d].%w", i, err)
		}
		p.rules = append(p.rules, built)
	}
	if c.Sticky != nil { // also where every rule has its own
		if _, err := newSticky(c.Sticky, ""); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func newRule(r Rule) (rule, error) {
	out := rule{name: r.Name}
	if err := checkText("name", r.Name); err != nil {
		return out, err
	}
	var err error
	if out.match, err = match.CompileAny(r.Match); err != nil {
		return out, err
	}
	if len(r.Destinations) == 0 {
		return out, fmt.Errorf("destinations: is empty; name at least one")
	}
	if r.Sticky != nil {
		if out.sticky, err = newSticky(r.Sticky, r.Name); err != nil {
			return out, err
		}
	}
	seen := map[string]bool{}
	for i, d := range r.Destinations {
		dec, err := newDecision(r, d)
		if err == nil && seen[d.Name] {
			err = fmt.Errorf("name: %q is used twice in this rule; stickiness needs distinct names", d.Name)
		}
		if err != nil {
			return out, fmt.Errorf("destinations[%d].%w", i, err)
		}
		seen[d.Name] = true
		out.decisions = append(out.decisions, dec)
	}
	out.stages, err = newStages(r)
	return out, err
}

func newDecision(r Rule, d Destination) (decision, error) {
	out := decision{text: r.Name + "/" + d.Name, lane: encodeMember(d.Name)}
	for w, label := range wayLabels {
		out.labels[w] = []string{r.Name, d.Name, label}
	}
	for c, label := range classLabels {
		out.counts[c] = []string{r.Name, d.Name, label}
	}
	if err := checkText("name", d.Name); err != nil {
		return out, err
	}
	switch {
	case d.Route != "" && d.Cluster != "":
		return out, fmt.Errorf("cluster: is set beside route; write exactly one of them")
	case d.Cluster != "":
		if err := checkText("cluster", d.Cluster); err != nil {
			return out, err
		}
		out.header, out.values = ClusterHeader, []string{d.Cluster}
		for range len(r.Match) - 1 {
			out.values = append(out.values, d.Cluster)
		}
		return out, nil
	case d.Route == "":
		return out, fmt.Errorf("route: is empty; write a route token, or a cluster")
	}
	if err := checkText("route", d.Route); err != nil {
		return out, err
	}
	out.header, out.values = RouteHeader, []string{d.Route}
	if len(r.Match) > 1 {
		out.values = nil
		for i := range r.Match {
			out.values = append(out.values, d.Route+"."+strconv.Itoa(i))
		}
	}
	return out, nil
}

// kept is what the response needs of a decision that came with a new key.
type kept struct {
	decision *decision
	cookie   string // the whole Set-Cookie value
}

// Request implements filter.Policy.
func (p *policy) Request(x *filter.Exchange) filter.Verdict {
	forged := strip(x)
	member := p.lane.read(x)
	for i := range p.rules {
		r := &p.rules[i]
		if at := r.match.First(x.Request); at >= 0 {
			p.decide(x, r, at, member)
			return filter.Verdict{Reroute: true}
		}
	}
	p.lane.clear(x)
	x.Done()
	return filter.Verdict{Reroute: forged}
}

// strip removes what only we may set, and tells whether anybody else had: the route was then chosen by the client.
func strip(x *filter.Exchange) (forged bool) {
	if !x.Request.May(filter.NamesOf(RouteHeader) | filter.NamesOf(ClusterHeader)) {
		return false
	}
	for _, h := range x.Request.All() {
		if h.Name == RouteHeader || h.Name == ClusterHeader {
			forged = true
			break
		}
	}
	if forged {
		x.Request.Remove(RouteHeader)
		x.Request.Remove(ClusterHeader)
		x.Host.Count(MetricForged, 1)
	}
	return forged
}

func (p *policy) decide(x *filter.Exchange, r *rule, at int, member string) {
	i, how, cookie := r.pick(x, member)
	d := &r.decisions[i]
	x.Request.Set(d.header, d.values[at])
	p.lane.write(x, d)
	x.Host.Annotate("canary", d.text)
	x.Host.Count(MetricDecisions, 1, d.labels[how]...)
	switch {
	case cookie != "":
		x.SetState(&kept{d, cookie})
	case p.response != "" || p.counts:
		x.SetState(d)
	default:
		x.Done()
	}
}

// pick chooses a destination: by lane, by key, or by chance. cookie is what the response must set, "" for nothing.
func (r *rule) pick(x *filter.Exchange, member string) (i int, how way, cookie string) {
	if member != "" {
		for i := range r.decisions {
			if r.decisions[i].lane == member {
				return i, byLane, ""
			}
		}
	}
	s, now := r.sticky, r.stage(x)
	if s == nil {
		return now.draw(x.Rand), byChance, ""
	}
	if key, ok := s.key.Value(x); ok {
		return rendezvous(s.hash(key), now.sides), byKey, ""
	}
	if s.cookie == nil {
		return now.draw(x.Rand), byMissing, ""
	}
	key := newKey(x.Rand)
	return rendezvous(s.hash(key), now.sides), byNewKey, s.cookie.value(key)
}

// Response implements filter.Policy.
func (p *policy) Response(x *filter.Exchange) filter.Verdict {
	var d *decision
	switch s := x.State().(type) {
	case *kept:
		d = s.decision
		x.Response.Add("set-cookie", s.cookie)
	case *decision:
		d = s
	default:
		return filter.Verdict{}
	}
	if p.response != "" {
		x.Response.Set(p.response, d.text)
	}
	if p.counts {
		x.Host.Count(MetricResponses, 1, d.counts[classOf(x.Response)]...)
	}
	return filter.Verdict{}
}
