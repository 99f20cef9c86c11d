package conformance

import (
	"fmt"

	envoys "github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// limitRoutes translates one limit to a local rate limit of one route. Envoy's default bucket serves requests that lack
// a part of the key: they share it, as they share a bucket of their own with Mizzen.
func limitRoutes(c *ratelimit.Config, id string, action obj, add adder) error {
	if len(c.Limits) != 1 {
		return fmt.Errorf("of several native limits each counts what another refuses")
	}
	l := &c.Limits[0]
	switch {
	case c.MaxKeys > 0:
		return fmt.Errorf("stock Envoy's cap on dynamic descriptors refuses new keys instead of forgetting old ones")
	case l.Scope == ratelimit.ScopeGlobal:
		return fmt.Errorf("stock Envoy's global rate limit needs a service")
	}
	f, refused := envoys.Limits(c, id)
	if len(refused) > 0 {
		return refused[0].Why
	}
	return add(l.Match, action, obj{"local_ratelimit": packed(f)})
}
