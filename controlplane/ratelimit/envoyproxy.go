package ratelimit

import (
	"fmt"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// descriptors is the configuration of envoyproxy/ratelimit for one domain.
type descriptors struct {
	Domain      string         `yaml:"domain"`
	Descriptors []*descriptorY `yaml:"descriptors"`
}

type descriptorY struct {
	Key         string         `yaml:"key"`
	Value       string         `yaml:"value,omitempty"`
	RateLimit   *rateY         `yaml:"rate_limit,omitempty"`
	ShadowMode  bool           `yaml:"shadow_mode,omitempty"`
	Descriptors []*descriptorY `yaml:"descriptors,omitempty"`
}

type rateY struct {
	Unit     string `yaml:"unit"`
	Requests uint32 `yaml:"requests_per_unit"`
}

// WriteEnvoyproxyConfig writes the limits of scope global as envoyproxy/ratelimit's configuration, for those who run that
// server: proxies ask both alike. Comments say what it cannot do: it has fixed windows of a second, minute, hour or day.
func WriteEnvoyproxyConfig(w io.Writer, set istio.Set, domain string) error {
	t := TableOf(set, false)
	out, notes := descriptors{Domain: domain, Descriptors: []*descriptorY{}}, ""
	for _, name := range t.Names() {
		l := t.byName[name]
		root := &descriptorY{Key: entryLimit, Value: name}
		rules := append([]Override{{Key: slices.Repeat([]string{"*"}, keyParts(set, name)), Rule: l.Rule, Shadow: l.Shadow}}, l.Overrides...)
		for _, o := range rules {
			rate, note := rateOf(o)
			if note != "" {
				notes += fmt.Sprintf("# %s %q: %s\n", name, o.Key, note)
			}
			if rate != nil {
				d := root.at(o.Key)
				d.RateLimit, d.ShadowMode = rate, o.Shadow
			}
		}
		if root.RateLimit != nil || len(root.Descriptors) > 0 {
			out.Descriptors = append(out.Descriptors, root)
		}
	}
	config, err := yaml.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode envoyproxy/ratelimit's configuration: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s", notes, config); err != nil {
		return fmt.Errorf("write envoyproxy/ratelimit's configuration: %w", err)
	}
	return nil
}

// at finds or makes the node of a key below d. Several entries of one name are told apart by their depth.
func (d *descriptorY) at(parts []string) *descriptorY {
	for _, p := range parts {
		if p == "*" {
			p = ""
		}
		i := slices.IndexFunc(d.Descriptors, func(c *descriptorY) bool { return c.Value == p })
		if i < 0 {
			i = len(d.Descriptors)
			d.Descriptors = append(d.Descriptors, &descriptorY{Key: "key", Value: p})
		}
		d = d.Descriptors[i]
	}
	return d
}

// rateOf is nil for what that server cannot count.
func rateOf(o Override) (rate *rateY, note string) {
	if slices.Contains(o.Key, "") {
		return nil, "left out: a missing part cannot be named"
	}
	for unit, per := range map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour} {
		if o.Rule.Per == per {
			rate = &rateY{Unit: unit, Requests: o.Rule.Requests}
		}
	}
	switch {
	case rate == nil:
		return nil, fmt.Sprintf("left out: per is %s, and would have to be a second, minute, hour or day", o.Rule.Per)
	case o.Rule.Burst != o.Rule.Requests:
		return rate, fmt.Sprintf("burst %d has no effect", o.Rule.Burst)
	}
	return rate, ""
}

// keyParts is how many parts the key of a limit has.
func keyParts(set istio.Set, name string) int {
	for _, o := range set.RateLimits {
		for i, r := range o.Spec.Limits {
			if limitName(o, i, r) == name {
				return len(r.Key)
			}
		}
	}
	return 0
}
