package conformance

import (
	"fmt"

	envoys "github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// match translates a Request to an Envoy route's match, below the part's prefix.
func (p *part) match(r match.Request) (obj, error) {
	if r.Path != nil && p.prefix != "/" {
		return nil, fmt.Errorf("an Envoy route matches one path, not a prefix and a path")
	}
	m, err := envoys.Match(r)
	if err != nil {
		return nil, err
	}
	out := plain(m)
	if r.Path == nil {
		out["prefix"] = p.prefix
	}
	return out, nil
}
