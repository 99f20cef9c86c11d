package match

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// CompiledKey is a checked Key. Immutable.
type CompiledKey struct {
	kind keyKind
	name string
	// Bits of the source address, of IPv4 and IPv6; 0: the plain address.
	v4, v6 int
}

type keyKind uint8

const (
	keyHeader keyKind = iota
	keyCookie
	keyQuery
	keyPath
	keyMethod
	keySource
	keyTrace
	keyRoute
	keyLiteral
)

// CompileKey checks k: exactly one field must be set.
func CompileKey(k Key) (*CompiledKey, error) {
	var out CompiledKey
	var set []string
	for _, f := range []struct {
		field string
		on    bool
		kind  keyKind
		name  string
	}{
		{"header", k.Header != "", keyHeader, strings.ToLower(k.Header)},
		{"cookie", k.Cookie != "", keyCookie, k.Cookie},
		{"query", k.Query != "", keyQuery, k.Query},
		{"path", k.Path, keyPath, ""},
		{"method", k.Method, keyMethod, ""},
		{"sourceAddress", k.SourceAddress, keySource, ""},
		{"traceId", k.TraceID, keyTrace, ""},
		{"route", k.Route, keyRoute, ""},
		{"literal", k.Literal != "", keyLiteral, k.Literal},
	} {
		if f.on {
			set = append(set, f.field)
			out.kind, out.name = f.kind, f.name
		}
	}
	const want = "write exactly one of header, cookie, query, path, method, sourceAddress, traceId, route, literal"
	if len(set) == 0 {
		return nil, fmt.Errorf("key: is empty; %s", want)
	}
	if len(set) > 1 {
		return nil, fmt.Errorf("key: has %s; %s", strings.Join(set, " and "), want)
	}
	if err := out.mask(&k); err != nil {
		return nil, err
	}
	from, named := map[keyKind]source{keyHeader: fromHeader, keyCookie: fromCookie, keyQuery: fromQuery}[out.kind]
	if named {
		if err := checkName(out.name, from); err != nil {
			return nil, fmt.Errorf("key.%s: %w", set[0], err)
		}
	}
	return &out, nil
}

// mask takes the prefixes of a source address.
func (k *CompiledKey) mask(key *Key) error {
	switch {
	case key.IPv4Prefix == 0 && key.IPv6Prefix == 0:
		return nil
	case !key.SourceAddress:
		return fmt.Errorf("key: ipv4Prefix and ipv6Prefix are for sourceAddress")
	case key.IPv4Prefix > 32:
		return fmt.Errorf("key.ipv4Prefix: %d: want at most 32", key.IPv4Prefix)
	case key.IPv6Prefix > 128:
		return fmt.Errorf("key.ipv6Prefix: %d: want at most 128", key.IPv6Prefix)
	}
	k.v4, k.v6 = cmp.Or(int(key.IPv4Prefix), 32), cmp.Or(int(key.IPv6Prefix), 128)
	return nil
}

// source is the address, or its network; what is no IP address stays as it is.
func (k *CompiledKey) source(address string) string {
	if k.v4 == 0 {
		return address
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	bits := k.v6
	if a.Is4() {
		bits = k.v4
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return address
	}
	return p.String()
}

// Value reads the key of an exchange. An absent or empty value is no key: ok is false.
func (k *CompiledKey) Value(x *filter.Exchange) (value string, ok bool) {
	switch k.kind {
	case keyHeader:
		value, _ = x.Request.Joined(k.name)
	case keyCookie:
		value, _ = Cookie(x.Request, k.name)
	case keyQuery:
		value, _ = QueryParameter(x.Request.Value(":path"), k.name)
	case keyPath:
		value = trimQuery(x.Request.Value(":path"))
	case keyMethod:
		value = x.Request.Value(":method")
	case keySource:
		value = k.source(x.Host.SourceAddress())
	case keyTrace:
		value = TraceID(x.Request)
	case keyRoute:
		value = x.Host.RouteName()
	case keyLiteral:
		value = k.name
	}
	return value, value != ""
}

// TraceID returns what identifies the trace that the request belongs to, "" if nothing does: the trace id of
// traceparent, b3, x-b3-traceid, uber-trace-id or x-ot-span-context (the first valid one, lower case, without leading
// zeros, so that a 64-bit id and its 128-bit form are the same), and as a last resort x-request-id.
func TraceID(h *filter.Headers) string {
	if v, ok := h.Get("traceparent"); ok && len(v) >= 35 && v[2] == '-' {
		if id := hexID(v[3:35]); id != "" {
			return id
		}
	}
	for _, f := range [...]struct{ header, end string }{
		{"b3", "-"}, {"x-b3-traceid", ""}, {"uber-trace-id", ":"}, {"x-ot-span-context", ";"},
	} {
		v, ok := h.Get(f.header)
		if !ok {
			continue
		}
		if f.end != "" {
			if v, _, ok = strings.Cut(v, f.end); !ok {
				continue
			}
		}
		if id := hexID(v); id != "" {
			return id
		}
	}
	return requestID(h.Value("x-request-id"))
}

// hexID normalises a trace id; "" if v is none.
func hexID(v string) string {
	if len(v) == 0 || len(v) > 32 {
		return ""
	}
	upper := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			upper = true
		default:
			return ""
		}
	}
	if upper {
		v = strings.ToLower(v)
	}
	return strings.TrimLeft(v, "0")
}

// requestID drops what stands before the version digit of a UUID, and that digit: Envoy rewrites it on the way to
// tell why a request is traced, and the rest is random enough.
func requestID(v string) string {
	if len(v) == 36 && v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-' {
		return v[15:]
	}
	return v
}
