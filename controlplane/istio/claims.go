package istio

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// claimHeader begins the keys of headers that stand for claims of a verified token.
const claimHeader = "@request.auth.claims"

// IsClaim tells whether the key of a header, in a match, stands for a claim.
func IsClaim(key string) bool { return strings.HasPrefix(key, claimHeader) }

// ClaimPath reads "@request.auth.claims.a.b" and "@request.auth.claims[a][b]"; nil if there is no name in key.
func ClaimPath(key string) []string {
	rest := strings.TrimPrefix(key, claimHeader)
	if names, ok := Brackets(rest); ok {
		return names
	}
	rest, ok := strings.CutPrefix(rest, ".")
	names := strings.Split(rest, ".")
	if !ok || slices.Contains(names, "") {
		return nil
	}
	return names
}

// claim checks a condition on a claim.
func (v *validator) claim(name string, m *networking.StringMatch, path string) {
	switch {
	case v.meta.Kind != "VirtualService":
		v.add(CodeUnsupported, Error, path, "only a VirtualService at a gateway looks at claims", "")
	case !IsClaim(name) || ClaimPath(name) == nil:
		v.fail(path, fmt.Sprintf("%q names no claim", name), "write @request.auth.claims.name, or @request.auth.claims[outer][inner]")
	case m.GetRegex() != "*":
		v.value(m, path)
	}
}
