package compile

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// rateLimits lowers RateLimit resources.
func (c *compiler) rateLimits() {
	for _, o := range c.set.RateLimits {
		l := &mesh.LimitPolicy{Namespace: o.Namespace, Name: o.Name, Origin: origin(&o.Meta, "")}
		if s := o.Spec.Selector; s != nil && len(s.MatchLabels) > 0 {
			l.Selector = s.MatchLabels
		}
		if !c.limitTargets(l, o) {
			continue
		}
		for i, r := range o.Spec.Limits {
			path := index("spec.limits", i)
			per, err := limitPeriod(r.Per)
			if r.Concurrency == 0 && (err != nil || r.Requests == 0) {
				c.report(&o.Meta, path, istio.Error, istio.CodeSchema, "the limit needs requests above 0 and per, a duration: it is left out",
					"write for example requests: 10 and per: second")
				continue
			}
			limit := c.limit(&o.Meta, path, i, r, per)
			if r.Scope == "shared" || r.Scope == "global" {
				if n := c.enforcers(l); n > 1 {
					limit.LocalShare = 1 / float64(n)
				}
			}
			limits := append(slices.Clone(l.Config.Limits), limit)
			if err := (&ratelimit.Config{Limits: limits, Global: &ratelimit.Global{Cluster: mesh.LimitCluster}}).Validate(); err != nil {
				c.report(&o.Meta, path, istio.Error, istio.CodeSchema, fmt.Sprintf("the limit is left out: %v", err), "")
				continue
			}
			l.Config.Limits = limits
		}
		if len(l.Config.Limits) > 0 {
			c.world.Limits = append(c.world.Limits, l)
		}
	}
}

// limitTargets resolves targetRefs; false if there are some and none exists: the policy then bears on nothing.
func (c *compiler) limitTargets(l *mesh.LimitPolicy, o *istio.Object[*istio.RateLimit]) bool {
	for i, t := range o.Spec.TargetRefs {
		path, found := index("spec.targetRefs", i), false
		switch t.Kind {
		case "Service":
			host := c.serviceFQDN(t.Name, o.Namespace)
			l.Services, found = append(l.Services, host), len(c.byHost[host]) > 0
		case "ServiceEntry":
			for _, s := range c.world.Services {
				if s.ShortName == "" && s.Namespace == o.Namespace && s.Origin.Name == t.Name {
					l.Services, found = append(l.Services, s.Hostname), true
				}
			}
		case "Gateway":
			l.Gateways = append(l.Gateways, o.Namespace+"/"+t.Name)
			found = slices.ContainsFunc(c.world.Gateways, func(g *mesh.Gateway) bool {
				return g.Namespace == o.Namespace && g.Name == t.Name
			})
		}
		if !found {
			c.report(&o.Meta, path, istio.Error, codeNotFound,
				fmt.Sprintf("target %s %s/%s not found", t.Kind, o.Namespace, t.Name), "")
		}
	}
	return len(o.Spec.TargetRefs) == 0 || len(l.Services)+len(l.Gateways) > 0
}

func (c *compiler) limit(m *istio.Meta, path string, i int, r istio.RateLimitRule, per time.Duration) ratelimit.Limit {
	out := ratelimit.Limit{
		Name:     m.Namespace + "/" + m.Name + "/" + cmp.Or(r.Name, strconv.Itoa(i)),
		Requests: r.Requests, Per: filter.Duration(per), Burst: r.Burst, Scope: r.Scope, Action: r.Action,
		Algorithm: r.Algorithm, Concurrency: r.Concurrency, Status: int(r.Status), OnError: r.FailureMode,
		Enabled: percentage(r.Enabled), Enforced: percentage(r.Enforced), MaxKeys: int(r.MaxKeys), Headers: r.Headers,
	}
	if h := r.HitsAddend; h != nil {
		out.HitsAddend = &ratelimit.HitsAddend{Number: h.Number, Header: strings.ToLower(h.Header), Max: h.Max}
	}
	if r.Scope == "shared" { // its share says it
		out.Scope = ""
	}
	for _, v := range r.Overrides {
		per, _ := limitPeriod(v.Per) // Validate finds 0
		out.Overrides = append(out.Overrides, ratelimit.Override{
			Key: v.Key, Requests: v.Requests, Per: filter.Duration(per), Burst: v.Burst, Action: v.Action,
		})
	}
	for j, h := range r.Match {
		out.Match = append(out.Match, matchRequest(h))
		if h.GetPort() != 0 || len(h.GetGateways())+len(h.GetSourceLabels()) > 0 || h.GetSourceNamespace() != "" {
			c.report(m, index(path+".match", j), istio.Warning, codeLimitMatch,
				"port, gateways, sourceLabels and sourceNamespace have no effect in a RateLimit", "use selector or targetRefs")
		}
	}
	for _, k := range r.Key {
		out.Key = append(out.Key, match.Key{
			Header: strings.ToLower(k.Header), Cookie: k.Cookie, Query: k.Query, Path: k.Path, Method: k.Method,
			SourceAddress: k.SourceAddress, Route: k.Route, TraceID: k.TraceID, Literal: k.Literal,
			IPv4Prefix: uint8(k.IPv4Prefix), IPv6Prefix: uint8(k.IPv6Prefix),
		})
	}
	if r.Scope == "global" && c.world.Settings.LimitService == nil {
		c.report(m, path+".scope", istio.Info, codeLimitScope,
			"no rate-limit service is known: each proxy counts for itself and allows its share of this limit",
			"run mizzen ratelimit as Service ratelimit in namespace "+c.world.Settings.RootNamespace+", or name its address with controlplane --ratelimit; mizzen up runs one by itself")
	}
	return out
}

// percentage is nil for the whole, so that a view names only what differs.
func percentage(v *float64) *filter.Percent {
	if v == nil || *v >= 100 {
		return nil
	}
	p := filter.PercentOf(max(0, *v))
	return &p
}

// enforcers is how many proxies enforce a policy: the ready workloads that it bears on. Each gets that part of a limit
// that all share.
func (c *compiler) enforcers(l *mesh.LimitPolicy) int {
	n := 0
	for _, w := range c.world.Workloads {
		if w.Ready && c.enforces(w, l) {
			n++
		}
	}
	return n
}

func (c *compiler) enforces(w *mesh.Workload, l *mesh.LimitPolicy) bool {
	if len(l.Services)+len(l.Gateways) == 0 {
		return (l.Namespace == w.Namespace || l.Namespace == c.world.Settings.RootNamespace) && mesh.Selects(l.Selector, w.Labels)
	}
	for _, host := range l.Services {
		for _, s := range c.byHost[host] {
			if s.Selector != nil && s.Namespace == w.Namespace && mesh.Selects(s.Selector, w.Labels) {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.world.Gateways, func(g *mesh.Gateway) bool {
		return slices.Contains(l.Gateways, g.Namespace+"/"+g.Name) && mesh.Selects(g.Selector, w.Labels)
	})
}

// Where the rate-limit service is looked for.
const (
	limitServiceName = "ratelimit"
	limitServicePort = 8081
)

// limitService finds the service that global limits are counted by.
func (c *compiler) limitService(in Inputs) {
	s := &c.world.Settings
	switch in.RateLimit {
	case "off":
	case "":
		host := c.serviceFQDN(limitServiceName, s.RootNamespace)
		for _, svc := range c.byHost[host] {
			if port := limitPort(svc); port != nil {
				s.LimitService = &mesh.LimitService{Hostname: host, Namespace: svc.Namespace, Port: port.Number}
			}
		}
	default:
		host, port, err := net.SplitHostPort(in.RateLimit)
		n, numeric := strconv.ParseUint(port, 10, 16)
		if err == nil && numeric == nil && host != "" {
			s.LimitService = &mesh.LimitService{Address: host, Port: uint32(n)}
		}
	}
	if s.LimitService != nil {
		s.LimitService.Timeout = in.RateLimitTimeout
	}
}

// limitPort is the port of the service by its usual number, else the first that speaks gRPC, else the first.
func limitPort(s *mesh.Service) *mesh.Port {
	if len(s.Ports) == 0 {
		return nil
	}
	if i := slices.IndexFunc(s.Ports, func(p *mesh.Port) bool { return p.Number == limitServicePort }); i >= 0 {
		return s.Ports[i]
	}
	if i := slices.IndexFunc(s.Ports, func(p *mesh.Port) bool { return p.Protocol == mesh.GRPC }); i >= 0 {
		return s.Ports[i]
	}
	return s.Ports[0]
}

// limitPeriod reads a Go duration, or second, minute, hour, day.
func limitPeriod(v string) (time.Duration, error) {
	switch strings.ToLower(v) {
	case "second", "s":
		return time.Second, nil
	case "minute", "m":
		return time.Minute, nil
	case "hour", "h":
		return time.Hour, nil
	case "day", "d":
		return 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(v)
	if err == nil && d <= 0 {
		err = fmt.Errorf("duration %s is not positive", v)
	}
	return d, err
}
