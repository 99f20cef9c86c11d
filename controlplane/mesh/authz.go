package mesh

import (
	"strconv"
	"time"
)

// Authz is what the AuthorizationPolicies and RequestAuthentications of the mesh say.
type Authz struct {
	Policies []*AuthPolicy // AuthorizationPolicies, in order of precedence
	Tokens   []*TokenPolicy
	// Providers are those that a policy with action CUSTOM names and that exist, sorted by name.
	Providers []*AuthProvider
	// Hosts are the services that key sets are fetched from, sorted: every proxy may reach them.
	Hosts []string
}

// GatewayNameLabel is what the pods of a Gateway of the Kubernetes Gateway API carry.
const GatewayNameLabel = "gateway.networking.k8s.io/gateway-name"

// Bearing says which proxies a policy is for. Services and Gateways, if any, take the place of Selector.
type Bearing struct {
	Namespace, Name string
	Selector        map[string]string // nil: the namespace's workloads, or all if it is the root namespace
	// Services are host names: the workloads behind them, at the ports that the service leads to.
	Services []string
	// Gateways are "namespace/name": the proxies that the Gateway selects, or that carry GatewayNameLabel with its name.
	Gateways []string
	Origin   Origin
}

// Scope is b itself, for what embeds it.
func (b *Bearing) Scope() *Bearing { return b }

// AuthAction of an AuthorizationPolicy, in Istio's words.
type AuthAction string

// Actions.
const (
	AuthAllow  AuthAction = "ALLOW"
	AuthDeny   AuthAction = "DENY"
	AuthAudit  AuthAction = "AUDIT"
	AuthCustom AuthAction = "CUSTOM"
)

// AuthPolicy is one AuthorizationPolicy.
type AuthPolicy struct {
	Bearing
	Action AuthAction
	// DryRun: what it would do is counted and logged, nothing else (annotation istio.io/dry-run).
	DryRun bool
	// Provider is asked by CUSTOM; nil then: it does not exist, and everything is refused.
	Provider *AuthProvider
	Rules    []*AuthRule
}

// AuthRule holds if one of From does, and one of To, and all of When. An empty list holds.
type AuthRule struct {
	From, To [][]*AuthTerm // each a conjunction
	When     []*AuthTerm
}

// Attributes of a request or connection that an AuthTerm looks at: Istio's keys of conditions, and what Operation adds.
const (
	AuthPeer            = "source.principal" // values are whole SPIFFE ids; also namespaces, service accounts and trust domains
	AuthSourceIP        = "source.ip"
	AuthRemoteIP        = "remote.ip"
	AuthRequestIdentity = "request.auth.principal" // "<iss>/<sub>"
	AuthClaim           = "request.auth.claims"    // Path
	AuthHeader          = "request.headers"        // Name
	AuthHost            = "request.host"
	AuthMethod          = "request.method"
	AuthPath            = "request.path"
	AuthDestinationIP   = "destination.ip"
	AuthPort            = "destination.port"
	AuthSNI             = "connection.sni"
	AuthMetadata        = "experimental.envoy.filters" // Name is the filter's, Path the key's
)

// AuthTerm compares one attribute: it must match one of Values, if there are any, and none of Not.
type AuthTerm struct {
	Attribute string
	Name      string
	Path      []string
	Values    []AuthValue
	Not       []AuthValue
}

// HTTP tells whether only requests have the attribute, not connections.
func (t *AuthTerm) HTTP() bool {
	switch t.Attribute {
	case AuthRequestIdentity, AuthClaim, AuthHeader, AuthHost, AuthMethod, AuthPath:
		return true
	}
	return false
}

// AuthValueKind says how a value is compared.
type AuthValueKind string

// Kinds of values.
const (
	ValueExact    AuthValueKind = "exact"
	ValuePrefix   AuthValueKind = "prefix"
	ValueSuffix   AuthValueKind = "suffix"
	ValuePresent  AuthValueKind = "present"
	ValueRegex    AuthValueKind = "regex"    // of the whole
	ValueTemplate AuthValueKind = "template" // of a path, in Envoy's form: * and **
	ValueCIDR     AuthValueKind = "cidr"     // "10.0.0.0/8"
)

// AuthValue is one value of an AuthTerm.
type AuthValue struct {
	Kind AuthValueKind
	Text string // "" for ValuePresent
	List bool   // of metadata: one member of a list must match
}

// AuthProvider is an external authorizer of MeshConfig (envoyExtAuthzHttp, envoyExtAuthzGrpc), its service resolved.
type AuthProvider struct {
	Name     string
	GRPC     bool
	Hostname string
	Port     uint32
	Timeout  time.Duration // 0: 10 minutes, as in Istio
	FailOpen bool
	// StatusOnError is answered where it cannot be asked; 0: 403.
	StatusOnError   uint32
	ClearRouteCache bool
	Body            *AuthBody // nil: it does not see the body

	// Of HTTP only. PathPrefix stands before the request's path.
	PathPrefix string
	// CheckHeaders of the request are shown to it, AddHeaders are added, name by name, sorted.
	CheckHeaders []AuthValue
	AddHeaders   []AuthHeaderValue
	// Headers of its answer: to the upstream, and to the client of a refused and of an allowed request.
	UpstreamHeaders, DenyHeaders, AllowHeaders []AuthValue
	Origin                                     Origin
}

// AuthBody is how much of a body an external authorizer sees.
type AuthBody struct {
	MaxBytes     uint32
	AllowPartial bool
	PackAsBytes  bool
}

// AuthHeaderValue is a header sent to an external authorizer.
type AuthHeaderValue struct{ Name, Value string }

// TokenPolicy is one RequestAuthentication.
type TokenPolicy struct {
	Bearing
	Rules []*TokenRule
}

// TokenRule is one of its jwtRules. A request without a token passes; one with a bad token is answered 401.
type TokenRule struct {
	Issuer    string
	Audiences []string
	// Keys is the key set itself; "" if it is fetched from KeysURI. KeysCluster is then what leads there, KeysHost and KeysPort
	// where: a service of the mesh, or (External) a name outside it, over TLS if KeysTLS.
	Keys, KeysURI string
	KeysCluster   string
	KeysHost      string
	KeysPort      uint32
	External      bool
	KeysTLS       bool
	Timeout       time.Duration // of the fetch; 0: 5 seconds
	FromHeaders   []TokenHeader // with FromParams and FromCookies all empty: Authorization: Bearer, and parameter access_token
	FromParams    []string
	FromCookies   []string
	PayloadHeader string // carries the payload to the upstream; "" none
	ClaimHeaders  []ClaimHeader
	Forward       bool     // the token stays in the request
	SplitClaims   []string // besides scope and permission, read as lists of words
	Origin        Origin
	ClearRoutes   bool // routes look at claims: choose again once they are known
}

// TokenHeader is a header that a token may stand in, after Prefix.
type TokenHeader struct{ Name, Prefix string }

// ClaimHeader is a header that carries a claim to the upstream.
type ClaimHeader struct{ Header, Claim string }

// Auth is what one filter chain, or a whole listener, enforces: in the order Custom, Tokens, Deny, Allow; Audit only marks.
type Auth struct {
	Custom []*CustomAuth
	Tokens []*TokenRule // sorted by issuer
	Audit  []*AuthPolicy
	Deny   []*AuthPolicy
	Allow  []*AuthPolicy
}

// CustomAuth is the policies that ask one provider. A nil Provider refuses everything.
type CustomAuth struct {
	Provider *AuthProvider
	Cluster  string // of the provider
	Policies []*AuthPolicy
}

// Terms lists all terms of the rule.
func (r *AuthRule) Terms() []*AuthTerm {
	var out []*AuthTerm
	for _, list := range append(append([][]*AuthTerm(nil), r.From...), r.To...) {
		out = append(out, list...)
	}
	return append(out, r.When...)
}

// HTTP tells whether some term of the rule looks at what only requests have.
func (r *AuthRule) HTTP() bool {
	for _, t := range r.Terms() {
		if t.HTTP() {
			return true
		}
	}
	return false
}

// KeysCluster names the cluster that leads to a server of key sets outside the mesh, or over TLS.
func KeysCluster(host string, port uint32) string {
	return "jwks|" + strconv.Itoa(int(port)) + "||" + host
}
