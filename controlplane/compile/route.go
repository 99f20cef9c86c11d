package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	networking "istio.io/api/networking/v1alpha3"
)

// route lowers one HTTPRoute; nil if it cannot mean anything, which a diagnostic then says.
func (c *compiler) route(m *istio.Meta, path string, in *networking.HTTPRoute, sticky *canary.Sticky) *mesh.Route {
	r := &mesh.Route{
		Name:    in.GetName(),
		Timeout: duration(in.GetTimeout()),
		CORS:    cors(in.GetCorsPolicy()),
		Headers: headerOps(in.GetHeaders()),
		Origin:  origin(m, path),
	}
	for i, h := range in.GetMatch() {
		if out := c.matchRule(m, index(path+".match", i), h); out != nil {
			r.Matches = append(r.Matches, out)
		}
	}
	if len(in.GetMatch()) > 0 && len(r.Matches) == 0 {
		return nil
	}
	switch {
	case in.GetRedirect() != nil:
		if r.Redirect = c.redirect(m, path+".redirect", in.GetRedirect()); r.Redirect == nil {
			return nil
		}
	case in.GetDirectResponse() != nil:
		r.Direct = direct(in.GetDirectResponse())
	case len(in.GetRoute()) > 0:
		if !c.destinations(m, path, r, in.GetRoute()) {
			return nil
		}
	default:
		c.report(m, path, istio.Error, istio.CodeSchema, "the route has no destination, redirect or directResponse",
			"add route, redirect or directResponse")
		return nil
	}
	r.Rewrite = rewrite(in.GetRewrite())
	if in.GetRetries() != nil {
		r.Retries = retries(in.GetRetries())
	}
	r.Fault = c.fault(m, path+".fault", in.GetFault())
	r.Mirrors = c.mirrors(m, path, in)
	c.authority(m, path, r)
	if sticky != nil && len(r.Destinations) > 1 {
		s := *sticky
		// The salt is the object's, not the route's place in it: routes added before this one move nobody.
		s.Salt = strings.TrimSuffix(m.Namespace+"/"+m.Name+"/"+r.Name, "/")
		r.Sticky = &s
	}
	return r
}

func (c *compiler) destinations(m *istio.Meta, path string, r *mesh.Route, in []*networking.HTTPRouteDestination) bool {
	for i, d := range in {
		out := c.destination(m, index(path+".route", i), d.GetDestination())
		out.Weight, out.Headers = uint32(max(d.GetWeight(), 0)), headerOps(d.GetHeaders())
		r.Destinations = append(r.Destinations, &out)
	}
	return c.weighted(m, path, r.Destinations)
}

// weighted tells whether a route leads anywhere: somebody has a weight. One alone has all of it.
func (c *compiler) weighted(m *istio.Meta, path string, ds []*mesh.Destination) bool {
	if slices.ContainsFunc(ds, func(d *mesh.Destination) bool { return d.Weight > 0 }) {
		return true
	}
	if len(ds) == 1 {
		ds[0].Weight = 100
		return true
	}
	c.report(m, path+".route", istio.Error, istio.CodeSchema, "all weights are 0: the route is left out", "give one destination a weight")
	return false
}

func (c *compiler) destination(m *istio.Meta, path string, d *networking.Destination) mesh.Destination {
	return mesh.Destination{
		Hostname: c.fqdn(d.GetHost(), m.Namespace), Subset: d.GetSubset(), Port: d.GetPort().GetNumber(),
		Origin: origin(m, path+".destination"),
	}
}

// redirect lowers HTTPRedirect. Istio accepts any 3xx code, but one that Envoy has no name for costs the whole route
// table there; here only the route.
func (c *compiler) redirect(m *istio.Meta, path string, in *networking.HTTPRedirect) *mesh.Redirect {
	out := &mesh.Redirect{
		Authority: in.GetAuthority(), Scheme: in.GetScheme(), Path: in.GetUri(), Prefix: in.GetPrefixRewrite(),
		Code: cmp.Or(in.GetRedirectCode(), 301),
	}
	switch p := in.GetRedirectPort().(type) {
	case *networking.HTTPRedirect_Port:
		out.Port = p.Port
	case *networking.HTTPRedirect_DerivePort:
		out.PortFromRequest = p.DerivePort == networking.HTTPRedirect_FROM_REQUEST_PORT
	}
	if !slices.Contains([]uint32{301, 302, 303, 307, 308}, out.Code) {
		c.report(m, path+".redirectCode", istio.Error, istio.CodeSchema,
			fmt.Sprintf("redirectCode %d is none that Envoy sends: the route is left out", out.Code), "use 301, 302, 303, 307 or 308")
		return nil
	}
	return out
}

func direct(in *networking.HTTPDirectResponse) *mesh.DirectResponse {
	out := &mesh.DirectResponse{Status: in.GetStatus(), Body: in.GetBody().GetString_()}
	if b := in.GetBody().GetBytes(); len(b) > 0 {
		out.Body = string(b)
	}
	return out
}

func rewrite(in *networking.HTTPRewrite) *mesh.Rewrite {
	if in == nil {
		return nil
	}
	return &mesh.Rewrite{
		Path: in.GetUri(), Authority: in.GetAuthority(),
		RegexMatch: in.GetUriRegexRewrite().GetMatch(), RegexSub: in.GetUriRegexRewrite().GetRewrite(),
	}
}

// mirrors lowers mirror, mirrors and their percentages: unset is all, 0 none.
func (c *compiler) mirrors(m *istio.Meta, path string, in *networking.HTTPRoute) []*mesh.Mirror {
	var out []*mesh.Mirror
	if d := in.GetMirror(); d != nil {
		ppm := uint32(1_000_000)
		if p := in.GetMirrorPercentage(); p != nil {
			ppm = partsPerMillion(p.GetValue())
		}
		if ppm > 0 {
			out = append(out, &mesh.Mirror{Destination: c.destination(m, path+".mirror", d), PPM: ppm})
		}
	}
	for i, p := range in.GetMirrors() {
		ppm := uint32(1_000_000)
		if p.GetPercentage() != nil {
			ppm = partsPerMillion(p.GetPercentage().GetValue())
		}
		if ppm > 0 {
			out = append(out, &mesh.Mirror{Destination: c.destination(m, index(path+".mirrors", i), p.GetDestination()), PPM: ppm})
		}
	}
	return out
}

func cors(in *networking.CorsPolicy) *mesh.CORS {
	if in == nil {
		return nil
	}
	out := &mesh.CORS{
		Methods: in.GetAllowMethods(), Headers: in.GetAllowHeaders(), Expose: in.GetExposeHeaders(),
		MaxAge:          duration(in.GetMaxAge()),
		IgnoreUnmatched: in.GetUnmatchedPreflights() == networking.CorsPolicy_IGNORE,
	}
	for _, o := range in.GetAllowOrigins() {
		if s := stringMatch(o); s != nil {
			out.Origins = append(out.Origins, *s)
		}
	}
	if v := in.GetAllowCredentials(); v != nil {
		b := v.GetValue()
		out.Credentials = &b
	}
	return out
}
