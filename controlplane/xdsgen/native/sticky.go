package native

import (
	"errors"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mizzen-mesh/mizzen/filters/canary"
)

// Sticky is the hash policy by which Envoy's weighted clusters keep a key on its side. They cut the hash's range in pieces, in the
// order of the destinations: of two sides the second takes keys over as its weight grows and gives none back; of three or more
// keys move between the others too, which Mizzen's own stickiness does not do.
func Sticky(s *canary.Sticky) (*routev3.RouteAction_HashPolicy, error) {
	out := &routev3.RouteAction_HashPolicy{}
	switch k := s.Key; {
	case k.Header != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Header_{Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: k.Header}}
	case k.Cookie != "":
		c := &routev3.RouteAction_HashPolicy_Cookie{Name: k.Cookie}
		if set := s.SetCookie; set != nil {
			c.Path, c.Ttl = set.Path, durationpb.New(time.Duration(set.TTL))
			for _, a := range []struct {
				on          bool
				name, value string
			}{{set.Domain != "", "Domain", set.Domain}, {set.SameSite != "", "SameSite", set.SameSite}, {set.Secure, "Secure", ""}, {set.HTTPOnly, "HttpOnly", ""}} {
				if a.on {
					c.Attributes = append(c.Attributes, &routev3.RouteAction_HashPolicy_CookieAttribute{Name: a.name, Value: a.value})
				}
			}
		}
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Cookie_{Cookie: c}
	case k.Query != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: k.Query},
		}
	case k.IPv4Prefix > 0 || k.IPv6Prefix > 0:
		return nil, errors.New("stock Envoy hashes the whole source address, not its network")
	case k.SourceAddress:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
		}
	default:
		return nil, errors.New("stock Envoy hashes headers, cookies, query parameters and the source address only")
	}
	return out, nil
}
