package conformance

import (
	"fmt"
	"regexp"
	"strings"
)

// A pattern is a text in which {name:n} stands for n hexadecimal digits, which are caught under that name, {name} for
// what was caught before, and {*} for anything. Everything else stands for itself. With "~" before it the whole is a
// regular expression that must match all of the value.

var hole = regexp.MustCompile(`\{([a-z]+)(?::(\d+))?\}|\{\*\}`)

// caught maps names to what patterns have caught in a case.
type caught map[string]string

// fill puts what was caught into the text of a request.
func (c caught) fill(text string) (string, error) {
	var err error
	out := hole.ReplaceAllStringFunc(text, func(h string) string {
		v, ok := c[strings.Trim(h, "{}")]
		if !ok {
			err = fmt.Errorf("%s in %q: nothing was caught under that name", h, text)
		}
		return v
	})
	return out, err
}

// match compares a value with a pattern, and catches.
func (c caught) match(pattern, value string) bool {
	if expr, ok := strings.CutPrefix(pattern, "~"); ok {
		re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
		return err == nil && re.MatchString(value)
	}
	var b strings.Builder
	var names []string
	last := 0
	for _, at := range hole.FindAllStringSubmatchIndex(pattern, -1) {
		b.WriteString(regexp.QuoteMeta(pattern[last:at[0]]))
		last = at[1]
		switch {
		case at[2] < 0:
			b.WriteString(".*")
		case at[4] < 0:
			b.WriteString(regexp.QuoteMeta(c[pattern[at[2]:at[3]]]))
		default:
			names = append(names, pattern[at[2]:at[3]])
			b.WriteString("([0-9a-f]{" + pattern[at[4]:at[5]] + "})")
		}
	}
	b.WriteString(regexp.QuoteMeta(pattern[last:]))
	got := regexp.MustCompile(`\A` + b.String() + `\z`).FindStringSubmatch(value)
	if got == nil {
		return false
	}
	for i, n := range names {
		c[n] = got[i+1]
	}
	return true
}

// headers compares headers with a list of expectations, and says what differs.
func (c caught) headers(side string, want []string, got map[string][]string) (wrong []string) {
	for _, w := range want {
		if name, absent := strings.CutPrefix(w, "!"); absent {
			if v, ok := got[name]; ok {
				wrong = append(wrong, fmt.Sprintf("%s header %s is %q, want none", side, name, v))
			}
			continue
		}
		name, pattern, _ := strings.Cut(w, ":")
		pattern = strings.TrimSpace(pattern)
		v, ok := got[name]
		switch joined := strings.Join(v, ","); {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s header %s is missing, want %q", side, name, pattern))
		case !c.match(pattern, joined):
			wrong = append(wrong, fmt.Sprintf("%s header %s is %q, want %q", side, name, joined, pattern))
		}
	}
	return wrong
}
