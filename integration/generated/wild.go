package generated

import (
	"maps"
	"slices"
	"strings"
)

// place is where a value stands in a tree.
type place struct {
	tree any // a map or a list
	key  any // of it
}

// spoil changes one value of a document into one that a user should not have written, or takes it away, or doubles it.
func (g *generator) spoil(d Document) {
	root := "spec"
	if d.Kind() == meshConfig {
		root = "mesh"
	}
	var all []place
	places(d[root], &all)
	if g.rand.IntN(20) == 0 {
		places(d["metadata"], &all)
	}
	if len(all) == 0 {
		return
	}
	p := all[g.rand.IntN(len(all))]
	switch t := p.tree.(type) {
	case map[string]any:
		key := p.key.(string)
		switch v := t[key]; g.rand.IntN(10) {
		case 0:
			delete(t, key)
		case 1:
			delete(t, key)
			t[g.oddText()] = v
		default:
			t[key] = g.odd(v)
		}
	case []any:
		t[p.key.(int)] = g.odd(t[p.key.(int)])
	}
}

// places collects every place of a tree, in an order that only the tree gives.
func places(tree any, out *[]place) {
	switch t := tree.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(t)) {
			switch k {
			case "clientCertificate", "serverCertificate", "privateKey", "caCertificates", "caCrl":
				continue // no compiler knows which files a proxy has
			}
			*out = append(*out, place{t, k})
			places(t[k], out)
		}
	case []any:
		for i := range t {
			*out = append(*out, place{t, i})
			places(t[i], out)
		}
	}
}

// odd is another value in the stead of v, mostly of its type.
func (g *generator) odd(v any) any {
	switch x := v.(type) {
	case string:
		if strings.HasSuffix(x, "s") && len(x) > 1 && x[0] >= '0' && x[0] <= '9' {
			return pick[any](g, "0s", "0.001s", "0.0001s", "-1s", "315576000000s", "9000000h", "1ns", "", 5)
		}
		return g.oddText()
	case bool:
		return pick[any](g, !x, nil, "yes")
	case int, float64:
		return pick[any](g, 0, 1, -1, 65535, 65536, 2147483647, 4294967295, 4294967296, 1e18, 0.00001, "1", nil)
	case []any:
		if len(x) == 0 {
			return nil
		}
		return pick[any](g, []any{}, append(slices.Clone(x), x[0]), slices.Repeat(x, 40), nil, map[string]any{})
	case map[string]any:
		return pick[any](g, map[string]any{}, nil, []any{}, "text")
	}
	return v
}

func (g *generator) oddText() string {
	return pick(g, "", " ", "a b", "a\nb", "a\x00b", "ü", "\u202eabc", "%", "%%", "%NOPE%", "*", "*.*", "**", "a*b", "/", "//", "..", "-", "~", "@", "0", "-1", "1.2.3.4", "::1", "fe80::1%eth0", "999.1.1.1",
		"http://x/", "a,b", "a/b/c", "[", "(", "(?=a)", "\\", "\\1", "{*}", "true", "null", "UPPER", "xn--x", "a.b.c.d.", strings.Repeat("a", 64), strings.Repeat("a", 300), strings.Repeat("ab.", 100)+"c", strings.Repeat("x", 20000),
		"[a-z]{1000}", "(a{30}){30}", "\\pL{1000}", ".*", "host", ":authority", "x-forwarded-for", "127.0.0.1:80", "istio-system", "inbound|9080||", "default", "mesh", "NaN", "1e400")
}
