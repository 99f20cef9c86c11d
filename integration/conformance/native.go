package conformance

import (
	"encoding/json"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	envoys "github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// native is the judge: Envoy's own route matching, weighted clusters, fault filter and local rate limit, configured to
// mean the same as a case. It translates only what these can say; everything else is refused with the reason.
type native struct{}

func (native) name() string { return "native" }

// sees: response flags are Envoy's own. Details, metadata and counters exist under other names.
func (native) sees(a conformance.Aspect) bool { return a == conformance.SeesFlags }

func (native) module(testing.TB) string { return "-" }

func (native) flags(l logLine) []string              { return split(l.Flags) }
func (native) annotations(logLine) map[string]string { return nil }

func (native) stat(_, series string) string { return series }

func (native) refuses(c *conformance.Case) string {
	if _, err := translate(c, "x"); err != nil {
		return err.Error()
	}
	return ""
}

func (native) filters(*conformance.Case, string) list {
	return list{
		obj{"name": "local_ratelimit", "typed_config": obj{"@type": localRateLimit, "stat_prefix": "native"}},
		obj{"name": "fault", "typed_config": obj{"@type": httpFault}},
	}
}

func (native) routes(c *conformance.Case, id string) list {
	routes, err := translate(c, id)
	if err != nil {
		panic(fmt.Sprintf("case %q was not refused: %v", c.Title, err))
	}
	return routes
}

const (
	localRateLimit = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
	httpFault      = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
)

// config is registry.Config with what is off.
type config struct {
	Tracing   json.RawMessage   `json:"tracing"`
	Canary    *canary.Config    `json:"canary"`
	RateLimit *ratelimit.Config `json:"ratelimit"`
	Fault     *fault.Config     `json:"fault"`
}

// part is a piece of the route table with a configuration of its own: a route of the case, or all the rest.
type part struct {
	prefix, cluster string
	config          config
}

// translate makes a native route table of a case. Every error is a reason why it cannot.
func translate(c *conformance.Case, id string) (list, error) {
	parts, err := partsOf(c)
	if err != nil {
		return nil, err
	}
	limited := 0
	var out list
	for i := range parts {
		p := &parts[i]
		policies := 0
		for _, on := range []bool{p.config.Canary != nil, p.config.RateLimit != nil, p.config.Fault != nil} {
			if on {
				policies++
			}
		}
		switch {
		case len(p.config.Tracing) > 0 && string(p.config.Tracing) != "null":
			return nil, fmt.Errorf("stock Envoy's tracers need a collector, and pass on no format but their own")
		case policies > 1:
			return nil, fmt.Errorf("only one policy at a time is translated")
		case p.config.RateLimit != nil:
			limited++
		}
		routes, err := p.routes(id)
		if err != nil {
			return nil, err
		}
		out = append(out, routes...)
	}
	if limited > 1 {
		return nil, fmt.Errorf("a native bucket belongs to one route; this limit bears on several")
	}
	return out, nil
}

func partsOf(c *conformance.Case) ([]part, error) {
	var out []part
	for _, r := range c.Routes {
		if r.Token != "" {
			return nil, fmt.Errorf("routes chosen by a token of the canary policy are Mizzen's own")
		}
		p := part{prefix: r.Prefix, cluster: r.Cluster}
		for _, raw := range [][]byte{c.Config, r.Config} { // the second overlays the first; null switches off
			if raw != nil {
				if err := json.Unmarshal(raw, &p.config); err != nil {
					return nil, err
				}
			}
		}
		out = append(out, p)
	}
	rest := part{prefix: "/", cluster: "default"}
	if err := json.Unmarshal(c.Config, &rest.config); err != nil {
		return nil, err
	}
	return append(out, rest), nil
}

// routes are the rules of the part's policy in order, and then what is left.
func (p *part) routes(id string) (list, error) {
	rest := obj{"match": obj{"prefix": p.prefix}, "route": obj{"cluster": p.cluster}}
	var out list
	add := func(matches []match.Request, action obj, perFilter obj) error {
		if len(matches) == 0 {
			matches = []match.Request{{}}
		}
		for _, m := range matches {
			native, err := p.match(m)
			if err != nil {
				return err
			}
			r := obj{"match": native, "route": action}
			if perFilter != nil {
				r["typed_per_filter_config"] = perFilter
			}
			out = append(out, r)
		}
		return nil
	}
	var err error
	switch {
	case p.config.Canary != nil:
		err = canaryRoutes(p.config.Canary, add)
	case p.config.Fault != nil:
		err = faultRoutes(p.config.Fault, obj{"cluster": p.cluster}, add)
	case p.config.RateLimit != nil:
		err = limitRoutes(p.config.RateLimit, id, obj{"cluster": p.cluster}, add)
	}
	return append(out, rest), err
}

type adder func(matches []match.Request, action, perFilter obj) error

func canaryRoutes(c *canary.Config, add adder) error {
	if c.Lane != nil || c.ResponseHeader != "" {
		return fmt.Errorf("lanes and the decision header are not in Envoy")
	}
	for _, r := range c.Rules {
		if r.Sticky != nil || c.Sticky != nil {
			return fmt.Errorf("stock Envoy's weighted clusters are not sticky as Mizzen's are")
		}
		var weighted list
		for _, d := range r.Destinations {
			if d.Cluster == "" {
				return fmt.Errorf("routes chosen by a token of the canary policy are Mizzen's own")
			}
			if len(r.Destinations) == 1 {
				d.Weight = 1
			}
			weighted = append(weighted, obj{"name": d.Cluster, "weight": d.Weight})
		}
		if err := add(r.Match, obj{"weighted_clusters": obj{"clusters": weighted}}, nil); err != nil {
			return err
		}
	}
	return nil
}

func faultRoutes(c *fault.Config, action obj, add adder) error {
	for _, r := range c.Rules {
		if r.ResponseRate != nil && r.ResponseRate.KiBPerS == 0 {
			return fmt.Errorf("a response rate that only requests name is not translated")
		}
		f, err := envoys.Fault(&r, c)
		if err != nil {
			return err
		}
		if err := add(r.Match, action, obj{"fault": packed(f)}); err != nil {
			return err
		}
	}
	return nil
}

// packed is a message as it stands in a typed_per_filter_config.
func packed(m proto.Message) obj {
	out := plain(m)
	out["@type"] = "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
	return out
}

// plain is a message's JSON.
func plain(m proto.Message) obj {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		panic(err) // no message of ours holds what JSON cannot
	}
	out := obj{}
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(err)
	}
	return out
}
