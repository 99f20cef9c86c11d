// Package match is the match vocabulary that all policies share: VirtualService's own, plus cookies.
// Source: networking.istio.io HTTPMatchRequest and StringMatch; Envoy's RouteMatch and HeaderMatcher.
package match

// Request matches a request: every condition given must hold (AND). The zero Request matches everything.
type Request struct {
	Name string `json:"name,omitempty"`
	// Path is matched without the query string.
	Path      *String `json:"path,omitempty"`
	Method    *String `json:"method,omitempty"`
	Scheme    *String `json:"scheme,omitempty"`
	Authority *String `json:"authority,omitempty"`
	// Headers, Cookies and Query name a header (lower case), cookie or query parameter each.
	Headers []Named `json:"headers,omitempty"`
	Cookies []Named `json:"cookies,omitempty"`
	Query   []Named `json:"query,omitempty"`
	// IgnorePathCase folds case for Path's exact and prefix (Istio: ignoreUriCase).
	IgnorePathCase bool `json:"ignorePathCase,omitempty"`
}

// Named is a condition on a named value.
type Named struct {
	Name string `json:"name"`
	String
}

// String is one condition on one value; exactly one of Exact, Prefix, Suffix, Regex, Present, Absent is set.
type String struct {
	Exact  *string `json:"exact,omitempty"`
	Prefix *string `json:"prefix,omitempty"`
	Suffix *string `json:"suffix,omitempty"`
	// Regex is RE2 and must match the whole value.
	Regex   *string `json:"regex,omitempty"`
	Present bool    `json:"present,omitempty"`
	Absent  bool    `json:"absent,omitempty"`
	// Invert turns the answer round.
	Invert bool `json:"invert,omitempty"`
	// AbsentAsEmpty treats a missing value as "" (Istio's withoutHeaders; Envoy's treat_missing_header_as_empty).
	AbsentAsEmpty bool `json:"absentAsEmpty,omitempty"`
}

// Key says where a key (for stickiness, or for a limit) is taken from; exactly one field is set.
type Key struct {
	Header        string `json:"header,omitempty"`
	Cookie        string `json:"cookie,omitempty"`
	Query         string `json:"query,omitempty"`
	Path          bool   `json:"path,omitempty"`
	Method        bool   `json:"method,omitempty"`
	SourceAddress bool   `json:"sourceAddress,omitempty"`
	TraceID       bool   `json:"traceId,omitempty"`
	Route         bool   `json:"route,omitempty"`
	Literal       string `json:"literal,omitempty"`
	// IPv4Prefix and IPv6Prefix, with SourceAddress, take the network of so many bits instead of the address: "192.0.2.0/24", as
	// Envoy's masked_remote_address writes it. 0: all bits. With neither the key is the plain address.
	IPv4Prefix uint8 `json:"ipv4Prefix,omitempty"`
	IPv6Prefix uint8 `json:"ipv6Prefix,omitempty"`
}
