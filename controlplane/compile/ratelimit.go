package compile

import (
	"cmp"
	"fmt"
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
			if err != nil || r.Requests == 0 {
				c.report(&o.Meta, path, istio.Error, istio.CodeSchema, "the limit needs requests above 0 and per, a duration: it is left out",
					"write for example requests: 10 and per: second")
				continue
			}
			limits := append(slices.Clone(l.Config.Limits), c.limit(&o.Meta, path, i, r, per))
			if err := (&ratelimit.Config{Limits: limits}).Validate(); err != nil {
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
			SourceAddress: k.SourceAddress, Route: k.Route,
		})
	}
	if r.Scope == "global" {
		c.report(m, path+".scope", istio.Info, codeLimitScope,
			"each proxy counts for itself until a rate-limit service is configured: replicas do not share this limit", "")
	}
	return out
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
