package mesh

import (
	"time"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Route is one HTTPRoute of a VirtualService: matches that are OR'ed, and one action.
// Exactly one of Destinations, Redirect and Direct is set.
type Route struct {
	Name         string
	Matches      []*Match // empty: everything
	Destinations []*Destination
	Redirect     *Redirect
	Direct       *DirectResponse
	Rewrite      *Rewrite
	Timeout      time.Duration // 0: none
	Retries      *Retries      // nil: Istio's default policy (see Settings.DefaultRetries)
	Mirrors      []*Mirror
	CORS         *CORS
	Headers      HeaderOps
	Fault        *fault.Rule // decided by Mizzen's fault policy
	Sticky       *canary.Sticky
	Steps        []*Step // of the weights, in order of time; nil: they stay
	Origin       Origin
}

// Step gives a route's destinations new weights from a time on. Only Mizzen's canary takes it; where Envoy itself divides
// traffic, the weights of the destinations hold.
type Step struct {
	At      time.Time
	Weights []uint32 // one for each of Route.Destinations
}

// Match is one HTTPMatchRequest: what Envoy or canary decide per request, and what is decided when compiling.
type Match struct {
	Request match.Request
	// Static selectors, evaluated by the view. Gateways nil: the VirtualService's own.
	Port            uint32 // 0: any
	Gateways        []string
	SourceLabels    map[string]string
	SourceNamespace string
	StatPrefix      string
	// Claims of a verified token (AuthClaim), which only a gateway knows when it chooses a route, and only Envoy's own matching.
	Claims []*AuthTerm
	Origin Origin
}

// CatchAll tells whether every request matches, where the static selectors let it.
func (m *Match) CatchAll() bool {
	r := m.Request
	if len(m.Claims) > 0 || r.Method != nil || r.Scheme != nil || r.Authority != nil || len(r.Headers)+len(r.Cookies)+len(r.Query) > 0 {
		return false
	}
	p := r.Path
	return p == nil || !p.Invert && (p.Prefix != nil && *p.Prefix == "/" || p.Regex != nil && (*p.Regex == ".*" || *p.Regex == "/.*"))
}

// Destination is one weighted side of a route.
type Destination struct {
	Hostname string // FQDN
	Subset   string
	Port     uint32 // 0: the listener's, or the service's only one
	Weight   uint32
	Headers  HeaderOps
	Origin   Origin
}

// HeaderOps changes headers; names keep the user's case, maps are emitted sorted.
type HeaderOps struct {
	Request, Response HeaderEdit
}

// HeaderEdit sets (overwrites), adds (appends) and removes.
type HeaderEdit struct {
	Set, Add map[string]string
	Remove   []string
}

// Redirect is Istio's HTTPRedirect.
type Redirect struct {
	Authority, Scheme string
	Path, Prefix      string // whole path, or prefix rewrite
	Port              uint32
	PortFromRequest   bool // derivePort FROM_REQUEST_PORT
	Code              uint32
}

// DirectResponse answers in the proxy.
type DirectResponse struct {
	Status uint32
	Body   string
}

// Rewrite is Istio's HTTPRewrite.
type Rewrite struct {
	Path                 string // uri: replaces the matched prefix or the whole exact path; "/" when no uri matched: prefixes
	Authority            string
	RegexMatch, RegexSub string
}

// Retries is Istio's HTTPRetry with defaults resolved. Attempts 0: none.
type Retries struct {
	Attempts       uint32
	PerTry         time.Duration // 0: the route's timeout
	On             string        // Envoy's comma-separated policies
	StatusCodes    []uint32
	Backoff        time.Duration // 0: Envoy's 25 ms
	AvoidPrevious  bool
	RemoteLocality bool
}

// Mirror copies requests. Parts per million.
type Mirror struct {
	Destination Destination
	PPM         uint32
}

// CORS is Istio's CorsPolicy.
type CORS struct {
	Origins         []match.String
	Methods         []string
	Headers         []string
	Expose          []string
	MaxAge          time.Duration
	Credentials     *bool
	IgnoreUnmatched bool
}
