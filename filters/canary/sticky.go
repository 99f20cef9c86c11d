package canary

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// sticky is a compiled Sticky.
type sticky struct {
	key    *match.CompiledKey
	salt   uint64
	cookie *setCookie // nil: none is set
}

func newSticky(s *Sticky, rule string) (*sticky, error) {
	key, err := match.CompileKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("sticky.%w", err)
	}
	salt := s.Salt
	if salt == "" {
		salt = rule
	}
	out := &sticky{key: key, salt: match.Salt(salt)}
	if s.SetCookie == nil {
		return out, nil
	}
	if s.Key.Cookie == "" {
		return nil, fmt.Errorf("sticky.setCookie: needs a cookie key; write key.cookie, or leave setCookie out")
	}
	if out.cookie, err = newCookie(s.Key.Cookie, *s.SetCookie); err != nil {
		return nil, fmt.Errorf("sticky.setCookie.%w", err)
	}
	return out, nil
}

func (s *sticky) hash(key string) uint64 { return match.Hash(s.salt, key) }

// setCookie is a Set-Cookie value but for the cookie's own.
type setCookie struct{ before, after string }

func (c *setCookie) value(key string) string { return c.before + key + c.after }

func newCookie(name string, c Cookie) (*setCookie, error) {
	for _, f := range []struct{ field, value string }{{"path", c.Path}, {"domain", c.Domain}} {
		if strings.ContainsFunc(f.value, func(r rune) bool { return r == ';' || r <= ' ' || r >= 0x7f }) {
			return nil, fmt.Errorf("%s: %q holds a character that a cookie attribute cannot", f.field, f.value)
		}
	}
	ttl := time.Duration(c.TTL)
	if ttl < 0 || ttl%time.Second != 0 {
		return nil, fmt.Errorf("ttl: %s is not whole seconds; write \"1h\" or \"30s\"", ttl)
	}
	var b strings.Builder
	path := c.Path
	if path == "" {
		path = "/" // a browser's own default is the directory of the page, which would pin half a site
	}
	b.WriteString("; Path=" + path)
	if ttl > 0 {
		b.WriteString("; Max-Age=" + strconv.FormatInt(int64(ttl/time.Second), 10))
	}
	if c.Domain != "" {
		b.WriteString("; Domain=" + c.Domain)
	}
	switch c.SameSite {
	case "":
	case "Strict", "Lax":
		b.WriteString("; SameSite=" + c.SameSite)
	case "None":
		if !c.Secure {
			return nil, fmt.Errorf("sameSite: None needs secure: true, or browsers drop the cookie")
		}
		b.WriteString("; SameSite=None")
	default:
		return nil, fmt.Errorf("sameSite: %q is unknown; write Strict, Lax or None", c.SameSite)
	}
	if c.Secure {
		b.WriteString("; Secure")
	}
	if c.HTTPOnly {
		b.WriteString("; HttpOnly")
	}
	return &setCookie{name + "=", b.String()}, nil
}

// newKey draws 128 bits, in hex.
func newKey(r filter.Rand) string {
	const digits = "0123456789abcdef"
	var b [32]byte
	for i := 0; i < len(b); i += 16 {
		v := r.Uint64()
		for j := range 16 {
			b[i+j] = digits[v>>(60-4*j)&15]
		}
	}
	return string(b[:])
}
