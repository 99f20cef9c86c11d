package match

import (
	"fmt"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Matcher is a compiled Request. Immutable: every worker may use it at once.
type Matcher struct {
	conditions []condition
}

// source says where a condition takes its value from.
type source uint8

const (
	fromHeader source = iota
	fromPath
	fromCookie
	fromQuery
)

// condition is one compiled line of a Request.
type condition struct {
	source source
	name   string
	names  filter.Names // of name
	test   test
}

// Compile checks r and makes its Matcher. An error names the field and says what to write.
func Compile(r Request) (*Matcher, error) {
	m := &Matcher{}
	single := []struct {
		field string
		value *String
		from  source
		name  string
	}{
		// Cheap and selective conditions first: most requests are refused by the first one.
		{"method", r.Method, fromHeader, ":method"},
		{"path", r.Path, fromPath, ""},
		{"authority", r.Authority, fromHeader, ":authority"},
		{"scheme", r.Scheme, fromHeader, ":scheme"},
	}
	for _, s := range single {
		if s.value == nil {
			continue
		}
		if err := m.add(s.field, s.from, s.name, *s.value, s.from == fromPath && r.IgnorePathCase); err != nil {
			return nil, err
		}
	}
	lists := []struct {
		field string
		items []Named
		from  source
	}{{"headers", r.Headers, fromHeader}, {"query", r.Query, fromQuery}, {"cookies", r.Cookies, fromCookie}}
	for _, l := range lists {
		for i, n := range l.items {
			field := fmt.Sprintf("%s[%d]", l.field, i)
			if err := checkName(n.Name, l.from); err != nil {
				return nil, fmt.Errorf("%s.name: %w", field, err)
			}
			name := n.Name
			if l.from == fromHeader {
				name = strings.ToLower(name)
			}
			if err := m.add(field, l.from, name, n.String, false); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

func (m *Matcher) add(field string, from source, name string, s String, fold bool) error {
	t, err := compileString(s, fold)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	// A missing header fails an inverted match (Envoy's HeaderMatcher), a missing cookie passes it (CookieMatcher).
	t.absentInverts = from == fromCookie || from == fromQuery
	m.conditions = append(m.conditions, condition{from, name, filter.NamesOf(name), t})
	return nil
}

// Matches tells whether every condition holds for the request headers h.
func (m *Matcher) Matches(h *filter.Headers) bool {
	for i := range m.conditions {
		if !m.conditions[i].holds(h) {
			return false
		}
	}
	return true
}

func (c *condition) holds(h *filter.Headers) bool {
	switch c.source {
	case fromPath:
		path, ok := h.Get(":path")
		return c.test.holds(trimQuery(path), ok)
	case fromCookie:
		return c.test.holds(Cookie(h, c.name))
	case fromQuery:
		return c.test.holds(QueryParameter(h.Value(":path"), c.name))
	default:
		return c.header(h)
	}
}

// header answers for a header. Of several values one is enough, and inverted none may be there: Envoy's HeaderMatcher
// looks at each by itself since 1.39 (before, it joined them with commas).
func (c *condition) header(h *filter.Headers) bool {
	if !h.May(c.names) {
		return c.test.holds("", false)
	}
	seen, whole := false, c.test.kind == present || c.test.kind == absent
	all := h.All()
	for i := range all {
		if all[i].Name != c.name {
			continue
		}
		seen = true
		if !whole && c.test.plain(all[i].Value) {
			return !c.test.invert
		}
	}
	if whole || !seen {
		return c.test.holds("", seen)
	}
	return c.test.invert
}

// Any is a list of compiled Requests of which one must match.
type Any struct {
	matchers []*Matcher
}

// CompileAny compiles a list of which any entry may match. An empty list matches everything.
func CompileAny(rs []Request) (*Any, error) {
	a := &Any{}
	for i, r := range rs {
		m, err := Compile(r)
		if err != nil {
			return nil, fmt.Errorf("match[%d].%w", i, err)
		}
		a.matchers = append(a.matchers, m)
	}
	return a, nil
}

// First returns the index of the first entry that matches, -1 if none does. An empty list answers 0.
func (a *Any) First(h *filter.Headers) int {
	for i, m := range a.matchers {
		if m.Matches(h) {
			return i
		}
	}
	if len(a.matchers) == 0 {
		return 0
	}
	return -1
}

// Matches tells whether any entry matches, or the list is empty.
func (a *Any) Matches(h *filter.Headers) bool { return a.First(h) >= 0 }

// Len is the number of entries.
func (a *Any) Len() int { return len(a.matchers) }

func checkName(name string, from source) error {
	if name == "" {
		return fmt.Errorf("is empty; write the name to match")
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		bad := c <= ' ' || c >= 0x7f
		switch from {
		case fromHeader:
			bad = bad || strings.IndexByte("()<>@,;\\\"/[]?={}", c) >= 0 || c == ':' && i > 0
		case fromCookie:
			bad = bad || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0
		case fromQuery:
			bad = c == '&' || c == '=' || c == '#' || c < ' '
		}
		if bad {
			return fmt.Errorf("%q holds %q; write a name without it", name, string(c))
		}
	}
	return nil
}
