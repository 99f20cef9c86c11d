// Package registry lists the policies in chain order and parses a chain's configuration.
package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// Kinds returns the policies in chain order. To add a policy, add a line; the order is the order of execution on
// requests, the reverse of it on responses.
func Kinds() []filter.Kind {
	return []filter.Kind{
		tracing.Kind(),   // first: what the others refuse is traced too
		canary.Kind(),    // chooses the route: before everything that is keyed on the route
		ratelimit.Kind(), // refuses before a delay is paid
		fault.Kind(),     // stands in for the upstream: last
	}
}

// Parse reads the JSON of a Config into a Program with one slot for each of Kinds. It is strict: unknown fields are
// errors, and an error names the policy it comes from. A policy set to null is disabled. Empty raw means {}.
func Parse(raw []byte, env *filter.Env) (*filter.Program, error) {
	return ParseWith(Kinds(), raw, env)
}

// ParseWith is Parse over a chain of the caller's own, for tests of hosts.
func ParseWith(kinds []filter.Kind, raw []byte, env *filter.Env) (*filter.Program, error) {
	parts, err := split(raw)
	if err != nil {
		return nil, fmt.Errorf("parse mizzen configuration: %w", err)
	}
	p := &filter.Program{
		Names:    make([]string, len(kinds)),
		Policies: make([]filter.Policy, len(kinds)),
		Disabled: make([]bool, len(kinds)),
	}
	if p.FailClosed, err = failClosed(parts["failure"]); err != nil {
		return nil, fmt.Errorf("parse mizzen configuration: %w", err)
	}
	delete(parts, "failure")
	for i, k := range kinds {
		p.Names[i] = k.Name
		part, given := parts[k.Name]
		delete(parts, k.Name)
		switch {
		case !given:
		case string(part) == "null":
			p.Disabled[i] = true
		default:
			if p.Policies[i], err = k.New(part, env); err != nil {
				return nil, fmt.Errorf("configure policy %s: %w", k.Name, err)
			}
		}
	}
	if err := unknown(parts, p.Names); err != nil {
		return nil, fmt.Errorf("parse mizzen configuration: %w", err)
	}
	return p, nil
}

// split reads the top level: one raw part for each policy.
func split(raw []byte) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	var parts map[string]json.RawMessage
	if err := d.Decode(&parts); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the configuration")
	}
	return parts, nil
}

func failClosed(raw json.RawMessage) (bool, error) {
	if raw == nil {
		return false, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || (s != FailOpen && s != FailClosed) {
		return false, fmt.Errorf("failure: want %q or %q, not %s", FailOpen, FailClosed, raw)
	}
	return s == FailClosed, nil
}

func unknown(parts map[string]json.RawMessage, names []string) error {
	var extra []string
	for name := range parts {
		extra = append(extra, name)
	}
	if len(extra) == 0 {
		return nil
	}
	slices.Sort(extra)
	return fmt.Errorf("unknown field %q: want failure, %s", extra[0], strings.Join(names, ", "))
}
