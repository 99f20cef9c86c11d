package istio

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	security "istio.io/api/security/v1beta1"
)

func validateRequestAuthentication(o *Object[ra]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	v.policyScope(s.GetSelector(), s.GetTargetRef(), s.GetTargetRefs())
	if len(s.GetJwtRules()) == 0 {
		v.trap("spec", "without jwtRules no token is looked at", "")
	}
	for i, r := range s.GetJwtRules() {
		v.jwtRule(index("spec.jwtRules", i), r)
	}
	return v.diags
}

func (v *validator) jwtRule(path string, r *security.JWTRule) {
	v.required(path+".issuer", r.GetIssuer())
	for _, l := range []texts{
		{"audiences", r.GetAudiences()}, {"fromParams", r.GetFromParams()}, {"fromCookies", r.GetFromCookies()},
		{"spaceDelimitedClaims", r.GetSpaceDelimitedClaims()},
	} {
		for i, s := range l.values {
			if s == "" {
				v.fail(index(path+"."+l.name, i), "an empty text", "")
			}
		}
	}
	v.keySet(path, r)
	for i, h := range r.GetFromHeaders() {
		v.tokenHeader(index(path+".fromHeaders", i)+".name", h.GetName())
	}
	if h := r.GetOutputPayloadToHeader(); h != "" {
		v.tokenHeader(path+".outputPayloadToHeader", h)
	}
	seen := map[string]bool{}
	for i, c := range r.GetOutputClaimToHeaders() {
		at := index(path+".outputClaimToHeaders", i)
		v.tokenHeader(at+".header", c.GetHeader())
		v.required(at+".claim", c.GetClaim())
		if name := strings.ToLower(c.GetHeader()); seen[name] {
			v.fail(at+".header", fmt.Sprintf("header %q carries two claims", c.GetHeader()), "name them apart")
		} else {
			seen[name] = true
		}
	}
	v.positive(path+".timeout", r.GetTimeout(), "")
}

func (v *validator) tokenHeader(path, name string) {
	if v.required(path, name) && !headerName(name) {
		v.fail(path, fmt.Sprintf("%q is not a header's name", name), "")
	}
}

func (v *validator) keySet(path string, r *security.JWTRule) {
	if r.GetJwks() != "" && r.GetJwksUri() != "" {
		v.fail(path, "jwks and jwksUri exclude each other", "keep one")
	}
	if r.GetJwks() == "" && r.GetJwksUri() == "" {
		v.fail(path, "the keys of issuer "+r.GetIssuer()+" are nowhere: Mizzen does not ask the issuer for its openid-configuration",
			"write jwksUri, as the issuer's /.well-known/openid-configuration names it, or jwks")
	}
	if u := r.GetJwksUri(); u != "" {
		p, err := url.Parse(u)
		if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Hostname() == "" || p.User != nil {
			v.fail(path+".jwksUri", fmt.Sprintf("%q is no http or https URL of a host", u), "")
		} else if p.Port() != "" {
			v.portText(path+".jwksUri", p.Port())
		}
	}
	if k := r.GetJwks(); k != "" {
		if err := checkKeySet(k); err != nil {
			v.fail(path+".jwks", "is no JSON Web Key Set that Envoy could use: "+err.Error(), "")
		}
	}
}

// jsonKey is a JSON Web Key as far as proxies look at it.
type jsonKey struct {
	Kty string `json:"kty"`
	Alg string `json:"alg"`
	Crv string `json:"crv"`
	N   string `json:"n"`
	E   string `json:"e"`
	X   string `json:"x"`
	Y   string `json:"y"`
	K   string `json:"k"`
}

// checkKeySet tells why no key of the set can be used: Envoy refuses such a set, and the whole listener with it.
func checkKeySet(text string) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if len(set.Keys) == 0 {
		return fmt.Errorf("it has no keys")
	}
	var first error
	for i, raw := range set.Keys {
		var k jsonKey
		err := json.Unmarshal(raw, &k)
		if err == nil {
			err = k.check()
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("keys[%d]: %w", i, err)
		}
	}
	return first
}

func (k jsonKey) check() error {
	part := func(name, text string, size int) ([]byte, error) {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || len(b) == 0 || size > 0 && len(b) != size {
			return nil, fmt.Errorf("%s is not base64url of the right length", name)
		}
		return b, nil
	}
	switch k.Kty {
	case "RSA":
		if k.Alg != "" && !strings.HasPrefix(k.Alg, "RS") && !strings.HasPrefix(k.Alg, "PS") {
			return fmt.Errorf("alg %q is not for RSA", k.Alg)
		}
		if n, err := part("n", k.N, 0); err != nil || len(n) < 128 {
			return fmt.Errorf("n is no modulus of at least 1024 bits")
		}
		_, err := part("e", k.E, 0)
		return err
	case "EC":
		curve, size := curveOf(k.Crv)
		if curve == nil {
			return fmt.Errorf("crv %q is unknown", k.Crv)
		}
		x, err := part("x", k.X, size)
		if err != nil {
			return err
		}
		y, err := part("y", k.Y, size)
		if err != nil {
			return err
		}
		if _, err := curve.NewPublicKey(append(append([]byte{4}, x...), y...)); err != nil {
			return fmt.Errorf("x and y are no point of %s", k.Crv)
		}
		return nil
	case "OKP":
		if k.Crv != "Ed25519" {
			return fmt.Errorf("crv %q is unknown", k.Crv)
		}
		_, err := part("x", k.X, 32)
		return err
	case "oct":
		_, err := part("k", k.K, 0)
		return err
	}
	return fmt.Errorf("kty %q is unknown", k.Kty)
}

func curveOf(name string) (ecdh.Curve, int) {
	switch name {
	case "P-256":
		return ecdh.P256(), 32
	case "P-384":
		return ecdh.P384(), 48
	case "P-521":
		return ecdh.P521(), 66
	}
	return nil, 0
}
