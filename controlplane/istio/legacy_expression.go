package istio

import (
	"regexp"
	"strings"
)

// clause is one comparison of a Mixer expression: an attribute, or an entry of a map attribute, with a text.
type clause struct {
	attribute string // request.headers, source.labels, destination.service...
	entry     string // of request.headers["x"]; "" if the attribute is no map
	op        string // exact, prefix, suffix, regex
	value     string
	not       bool
}

// name is the clause's attribute as the user wrote it.
func (c clause) name() string {
	if c.entry == "" {
		return c.attribute
	}
	return c.attribute + `["` + c.entry + `"]`
}

// glob is the value as AuthorizationPolicy and RBAC write it; false for a regular expression.
func (c clause) glob() (string, bool) {
	switch c.op {
	case "prefix":
		return c.value + "*", true
	case "suffix":
		return "*" + c.value, true
	}
	return c.value, c.op == "exact"
}

// mixerToken are the words of Mixer's expression language, as far as they are read here.
var mixerToken = regexp.MustCompile("\\s+|\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|&&|\\|\\||==|!=|[A-Za-z_][A-Za-z0-9_.-]*|[()|,\\[\\]]|[0-9]+|.")

// parseMixer reads an expression as any of several lists of clauses that hold together. False: it says more than that.
func parseMixer(text string) (any [][]clause, ok bool) {
	p := &mixerParser{}
	for _, t := range mixerToken.FindAllString(text, 1000) {
		if strings.TrimSpace(t) != "" {
			p.tokens = append(p.tokens, t)
		}
	}
	if len(p.tokens) == 0 {
		return [][]clause{nil}, true
	}
	any, ok = p.or()
	return any, ok && p.at == len(p.tokens)
}

type mixerParser struct {
	tokens []string
	at     int
	depth  int
}

func (p *mixerParser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *mixerParser) take(token string) bool {
	if p.peek() != token {
		return false
	}
	p.at++
	return true
}

func (p *mixerParser) or() ([][]clause, bool) {
	out, ok := p.and()
	for ok && p.take("||") {
		var more [][]clause
		more, ok = p.and()
		out = append(out, more...)
	}
	return out, ok && len(out) <= 64
}

// and joins every alternative of one side with every one of the other.
func (p *mixerParser) and() ([][]clause, bool) {
	out, ok := p.term()
	for ok && p.take("&&") {
		more, good := p.term()
		if !good || len(out)*len(more) > 64 {
			return nil, false
		}
		var joined [][]clause
		for _, a := range out {
			for _, b := range more {
				joined = append(joined, append(a[:len(a):len(a)], b...))
			}
		}
		out = joined
	}
	return out, ok
}

func (p *mixerParser) term() ([][]clause, bool) {
	if p.depth++; p.depth > 32 {
		return nil, false
	}
	defer func() { p.depth-- }()
	if p.peek() == "true" {
		p.at++
		return [][]clause{nil}, true
	}
	if p.take("(") {
		if a, e, ok := p.attribute(); ok && p.take(")") { // (attribute | "default") == "value"
			return p.compare(a, e)
		}
		p.at = p.back("(")
		inner, ok := p.or()
		return inner, ok && p.take(")")
	}
	if p.take("match") {
		return p.match()
	}
	a, e, ok := p.attribute()
	if !ok {
		return nil, false
	}
	return p.compare(a, e)
}

// back is the place behind the last token t before the one at hand.
func (p *mixerParser) back(t string) int {
	for i := p.at - 1; i >= 0; i-- {
		if p.tokens[i] == t {
			return i + 1
		}
	}
	return 0
}

// match is match(attribute, "glob"), perhaps compared with true or false.
func (p *mixerParser) match() ([][]clause, bool) {
	if !p.take("(") {
		return nil, false
	}
	a, e, ok := p.attribute()
	if !ok || !p.take(",") {
		return nil, false
	}
	pattern, ok := p.literal()
	if !ok || !p.take(")") {
		return nil, false
	}
	c := clause{attribute: a, entry: e, op: "exact", value: pattern}
	switch {
	case strings.HasSuffix(pattern, "*"):
		c.op, c.value = "prefix", strings.TrimSuffix(pattern, "*")
	case strings.HasPrefix(pattern, "*"):
		c.op, c.value = "suffix", strings.TrimPrefix(pattern, "*")
	}
	return p.truth(c)
}

// truth takes == true, == false, != true or nothing.
func (p *mixerParser) truth(c clause) ([][]clause, bool) {
	for _, op := range []string{"==", "!="} {
		if !p.take(op) {
			continue
		}
		word := p.peek()
		p.at++
		if word != "true" && word != "false" {
			return nil, false
		}
		c.not = (word == "false") != (op == "!=")
	}
	return [][]clause{{c}}, true
}

// compare is == or != and a text, or a method of strings.
func (p *mixerParser) compare(attribute, entry string) ([][]clause, bool) {
	for suffix, op := range map[string]string{".startsWith": "prefix", ".endsWith": "suffix", ".matches": "regex"} {
		// The dot is part of a word: request.path.startsWith("/a"). Behind a bracket it stands alone.
		base, ok := strings.CutSuffix(attribute, suffix)
		if !ok && p.peek() == "." && p.at+1 < len(p.tokens) && "."+p.tokens[p.at+1] == suffix {
			base, ok = attribute, true
			p.at += 2
		}
		if ok && p.take("(") {
			value, good := p.literal()
			if !good || !p.take(")") {
				return nil, false
			}
			return p.truth(clause{attribute: base, entry: entry, op: op, value: value})
		}
	}
	c := clause{attribute: attribute, entry: entry, op: "exact", not: p.peek() == "!="}
	if !p.take("==") && !p.take("!=") {
		return nil, false
	}
	var ok bool
	c.value, ok = p.literal()
	return [][]clause{{c}}, ok
}

// attribute is a name, perhaps with an entry, perhaps with what stands in for it where it is absent.
func (p *mixerParser) attribute() (name, entry string, ok bool) {
	name = p.peek()
	if name == "" || !(name[0] >= 'a' && name[0] <= 'z') {
		return "", "", false
	}
	p.at++
	if p.take("[") {
		if entry, ok = p.literal(); !ok || !p.take("]") {
			return "", "", false
		}
	}
	for p.take("|") { // a default: what is absent equals nothing that a rule would name
		if _, lit := p.literal(); lit {
			continue
		}
		if _, _, ok := p.attribute(); !ok {
			return "", "", false
		}
	}
	return name, entry, true
}

func (p *mixerParser) literal() (string, bool) {
	t := p.peek()
	if len(t) < 2 || t[0] != '"' && t[0] != '`' {
		return "", false
	}
	p.at++
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(t[1 : len(t)-1]), true
}

// firstAttribute is what a dimension's expression takes its value from; a literal if it begins with one.
func firstAttribute(expression string) (c clause, literal, ok bool) {
	p := &mixerParser{}
	for _, t := range mixerToken.FindAllString(expression, 100) {
		if strings.TrimSpace(t) != "" {
			p.tokens = append(p.tokens, t)
		}
	}
	if v, lit := p.literal(); lit && p.at == len(p.tokens) {
		return clause{value: v}, true, true
	}
	a, e, ok := p.attribute()
	return clause{attribute: a, entry: e}, false, ok
}
