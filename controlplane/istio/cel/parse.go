package cel

import "slices"

type nodeKind uint8

const (
	identNode nodeKind = iota
	numberNode
	stringNode
	boolNode   // true, false, null
	selectNode // args[0].text
	indexNode  // args[0][args[1]]
	callNode   // text(args); of a method args[0] is its object
	unaryNode  // text args[0]
	binaryNode // args[0] text args[1]
	ternaryNode
	listNode
	mapNode // keys and values in turn
)

// node of an expression's tree.
type node struct {
	kind   nodeKind
	text   string // a name, an operator, a literal as written
	method bool   // of a callNode
	args   []*node
	at     int
}

func (n *node) fail(message, fix string) *Error { return &Error{n.at, message, fix} }

// maxDepth bounds how deep an expression may be nested: CEL's own bound is 32 of each kind.
const maxDepth = 32

type parser struct {
	words []lexeme
	depth int
}

func parse(src string) (*node, *Error) {
	words, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{words: words}
	if p.words[0].kind == endToken {
		return nil, &Error{0, "says nothing", ""}
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if w := p.words[0]; w.kind != endToken {
		return nil, &Error{w.at, "unexpected " + w.text, ""}
	}
	return n, nil
}

func (p *parser) next() lexeme {
	w := p.words[0]
	if w.kind != endToken {
		p.words = p.words[1:]
	}
	return w
}

// take consumes one of some words, none of which is a string's or a number's.
func (p *parser) take(texts ...string) (lexeme, bool) {
	w := p.words[0]
	if (w.kind == symbolToken || w.kind == identToken) && slices.Contains(texts, w.text) {
		return p.next(), true
	}
	return w, false
}

func (p *parser) want(text string) *Error {
	w, ok := p.take(text)
	if ok {
		return nil
	}
	if w.kind == endToken {
		return &Error{w.at, "ends before " + text, ""}
	}
	return &Error{w.at, "want " + text + ", got " + w.text, ""}
}

func (p *parser) expression() (*node, *Error) {
	if p.depth++; p.depth > maxDepth {
		return nil, &Error{p.words[0].at, "nested too deep", "write it simpler"}
	}
	defer func() { p.depth-- }()
	n, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	w, ok := p.take("?")
	if !ok {
		return n, nil
	}
	yes, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	if err := p.want(":"); err != nil {
		return nil, err
	}
	no, err := p.expression()
	if err != nil {
		return nil, err
	}
	return &node{kind: ternaryNode, text: "?", args: []*node{n, yes, no}, at: w.at}, nil
}

// levels of binary operators, the loosest first.
var levels = [...][]string{{"||"}, {"&&"}, {"==", "!=", "<", "<=", ">", ">=", "in"}, {"+", "-"}, {"*", "/", "%"}}

func (p *parser) binary(level int) (*node, *Error) {
	if level == len(levels) {
		return p.unary()
	}
	n, err := p.binary(level + 1)
	for links := 0; err == nil; links++ {
		w, ok := p.take(levels[level]...)
		if !ok {
			return n, nil
		}
		if links == maxDepth {
			return nil, &Error{w.at, "too long a chain of operators", "write it simpler"}
		}
		var right *node
		right, err = p.binary(level + 1)
		n = &node{kind: binaryNode, text: w.text, args: []*node{n, right}, at: n.at}
	}
	return nil, err
}

func (p *parser) unary() (*node, *Error) {
	w, ok := p.take("!", "-")
	if !ok {
		return p.member()
	}
	if p.depth++; p.depth > maxDepth {
		return nil, &Error{w.at, "nested too deep", "write it simpler"}
	}
	defer func() { p.depth-- }()
	n, err := p.unary()
	if err != nil {
		return nil, err
	}
	return &node{kind: unaryNode, text: w.text, args: []*node{n}, at: w.at}, nil
}

func (p *parser) member() (*node, *Error) {
	n, err := p.primary()
	for links := 0; err == nil; links++ {
		w, ok := p.take(".", "[")
		if !ok {
			return n, nil
		}
		if links == maxDepth {
			return nil, &Error{w.at, "too long a chain of members", "write it simpler"}
		}
		if w.text == "[" {
			var key *node
			if key, err = p.expression(); err == nil {
				err = p.want("]")
			}
			n = &node{kind: indexNode, args: []*node{n, key}, at: n.at}
			continue
		}
		name := p.next()
		if name.kind != identToken {
			return nil, &Error{name.at, "want a name after .", ""}
		}
		if _, call := p.take("("); call {
			var args []*node
			args, err = p.list(")")
			n = &node{kind: callNode, text: name.text, method: true, args: append([]*node{n}, args...), at: name.at}
			continue
		}
		n = &node{kind: selectNode, text: name.text, args: []*node{n}, at: n.at}
	}
	return nil, err
}

// list reads expressions up to a closing word, which it consumes.
func (p *parser) list(end string) ([]*node, *Error) {
	var out []*node
	for {
		if _, ok := p.take(end); ok {
			return out, nil
		}
		if len(out) > 0 {
			if err := p.want(","); err != nil {
				return nil, err
			}
			if _, ok := p.take(end); ok && end == "]" {
				return out, nil
			}
		}
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
}

// reserved words cannot be names.
var reserved = [...]string{"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", "in"}

func (p *parser) primary() (*node, *Error) {
	w := p.next()
	switch w.kind {
	case endToken:
		return nil, &Error{w.at, "ends too early", ""}
	case numberToken:
		return &node{kind: numberNode, text: w.text, at: w.at}, nil
	case stringToken:
		return &node{kind: stringNode, text: w.text, at: w.at}, nil
	case identToken:
		return p.named(w)
	}
	switch w.text {
	case "(":
		n, err := p.expression()
		if err == nil {
			err = p.want(")")
		}
		return n, err
	case "[":
		args, err := p.list("]")
		return &node{kind: listNode, args: args, at: w.at}, err
	case "{":
		return p.pairs(w)
	}
	return nil, &Error{w.at, "unexpected " + w.text, ""}
}

func (p *parser) named(w lexeme) (*node, *Error) {
	switch {
	case w.text == "true" || w.text == "false" || w.text == "null":
		return &node{kind: boolNode, text: w.text, at: w.at}, nil
	case slices.Contains(reserved[:], w.text):
		return nil, &Error{w.at, w.text + " is a reserved word", ""}
	}
	if _, call := p.take("("); call {
		args, err := p.list(")")
		return &node{kind: callNode, text: w.text, args: args, at: w.at}, err
	}
	return &node{kind: identNode, text: w.text, at: w.at}, nil
}

func (p *parser) pairs(open lexeme) (*node, *Error) {
	out := &node{kind: mapNode, at: open.at}
	for {
		if _, ok := p.take("}"); ok {
			return out, nil
		}
		if len(out.args) > 0 {
			if err := p.want(","); err != nil {
				return nil, err
			}
		}
		key, err := p.expression()
		if err == nil {
			err = p.want(":")
		}
		if err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		out.args = append(out.args, key, value)
	}
}
