package match

import (
	"fmt"
	"regexp"
	"strings"
)

// kind is which field of String is set.
type kind uint8

const (
	exact kind = iota
	prefix
	suffix
	contains // a regex of the form .*literal.*
	regex
	present
	absent
)

// test is a compiled String.
type test struct {
	kind          kind
	fold          bool // exact and prefix ignore ASCII case
	invert        bool
	absentAsEmpty bool
	absentInverts bool
	text          string
	re            *regexp.Regexp
}

func compileString(s String, fold bool) (test, error) {
	t := test{fold: fold, invert: s.Invert, absentAsEmpty: s.AbsentAsEmpty}
	var set []string
	for _, f := range []struct {
		name  string
		value *string
		kind  kind
	}{{"exact", s.Exact, exact}, {"prefix", s.Prefix, prefix}, {"suffix", s.Suffix, suffix}, {"regex", s.Regex, regex}} {
		if f.value != nil {
			set = append(set, f.name)
			t.kind, t.text = f.kind, *f.value
		}
	}
	if s.Present {
		set = append(set, "present")
		t.kind = present
	}
	if s.Absent {
		set = append(set, "absent")
		t.kind = absent
	}
	const want = "write exactly one of exact, prefix, suffix, regex, present, absent"
	switch {
	case len(set) == 0:
		return t, fmt.Errorf("has no condition; %s", want)
	case len(set) > 1:
		return t, fmt.Errorf("has %s; %s", strings.Join(set, " and "), want)
	case t.kind == regex:
		return compileRegex(t)
	}
	return t, nil
}

// compileRegex anchors the expression at both ends, as Envoy's full match does. Expressions that only say "begins
// with", "ends with" or "contains" become plain string searches, which are some ten times faster.
func compileRegex(t test) (test, error) {
	if _, err := regexp.Compile(t.text); err != nil {
		return t, fmt.Errorf("regex %q: %w; write RE2 syntax (no lookaround, no backreferences)", t.text, err)
	}
	if k, text, ok := simplify(t.text); ok {
		// "." does not match a newline, which no header value holds: HTTP forbids it.
		t.kind, t.text, t.fold = k, text, false
		return t, nil
	}
	// The expression compiled by itself, so the group cannot be closed from within.
	re, err := regexp.Compile(`\A(?:` + t.text + `)\z`)
	if err != nil {
		return t, fmt.Errorf("regex %q: %w", t.text, err)
	}
	t.re = re
	return t, nil
}

// simplify recognises literals with ".*" at one end or both.
func simplify(expr string) (k kind, text string, ok bool) {
	text = strings.TrimSuffix(strings.TrimPrefix(expr, "^"), "$")
	text, open := strings.CutPrefix(text, ".*")
	text, shut := strings.CutSuffix(text, ".*")
	if regexp.QuoteMeta(text) != text {
		return 0, "", false
	}
	switch {
	case open && shut:
		return contains, text, true
	case open:
		return suffix, text, true
	case shut:
		return prefix, text, true
	default:
		return exact, text, true
	}
}

// holds answers for a value; ok false means that there is none.
func (t *test) holds(v string, ok bool) bool {
	switch t.kind {
	case present:
		return (ok || t.absentAsEmpty) != t.invert
	case absent:
		return (ok || t.absentAsEmpty) == t.invert
	}
	if !ok && !t.absentAsEmpty {
		return t.absentInverts && t.invert
	}
	return t.plain(v) != t.invert
}

func (t *test) plain(v string) bool {
	switch t.kind {
	case exact:
		return v == t.text || t.fold && len(v) == len(t.text) && equalFold(v, t.text)
	case prefix:
		return strings.HasPrefix(v, t.text) || t.fold && len(v) >= len(t.text) && equalFold(v[:len(t.text)], t.text)
	case suffix:
		return strings.HasSuffix(v, t.text)
	case contains:
		return strings.Contains(v, t.text)
	default:
		return t.re.MatchString(v)
	}
}

// equalFold compares strings of one length, ignoring ASCII case only, as Envoy does.
func equalFold(a, b string) bool {
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
