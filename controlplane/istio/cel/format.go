package cel

import (
	"strings"
)

// format is a format string that yields the expression's value. Sums of texts and string(...) become parts of the format, for
// inside an expression Envoy makes no text.
func (n *node) format() (string, *Error) {
	switch {
	case n.kind == stringNode:
		if err := check(n, false); err != nil {
			return "", err
		}
		text, _ := literal(n.text)
		return Escape(text), nil
	case n.kind == callNode && n.text == "string" && !n.method && len(n.args) == 1:
		return n.args[0].format()
	case n.kind == binaryNode && n.text == "+" && n.joins():
		left, err := n.args[0].format()
		if err != nil {
			return "", err
		}
		right, err := n.args[1].format()
		return left + right, err
	}
	own := n.known()
	if err := check(own, false); err != nil {
		return "", err
	}
	text := own.String()
	if strings.Contains(text, ")%") || strings.Contains(text, "):") || strings.Contains(text, "\n") {
		return "", n.fail("a string in it would end the format that carries it", "leave out ) before % and :, and line breaks")
	}
	return "%CEL(" + text + ")%", nil
}

// Escape makes a format string of plain text.
func Escape(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// joins tells whether a sum is one of texts: some part of it is text for certain.
func (n *node) joins() bool {
	switch n.kind {
	case stringNode:
		return true
	case callNode:
		return n.text == "string"
	case binaryNode:
		return n.text == "+" && (n.args[0].joins() || n.args[1].joins())
	case selectNode:
		return n.args[0].kind == identNode && n.args[0].text == "request" && !strings.Contains(" headers time size total_size duration ", " "+n.text+" ")
	case indexNode:
		a := n.args[0]
		return a.kind == selectNode && (a.text == "headers" || a.text == "trailers")
	}
	return false
}

// known replaces what only Istio's own filter has an attribute for, and Envoy another: node by xds.node, and string(x) where x alone
// is as good.
func (n *node) known() *node {
	if n.kind == identNode && n.text == "node" {
		return &node{kind: selectNode, text: "node", args: []*node{{kind: identNode, text: "xds", at: n.at}}, at: n.at}
	}
	out := *n
	out.args = make([]*node, len(n.args))
	for i, a := range n.args {
		out.args[i] = a.known()
	}
	if n.kind == ternaryNode {
		for i, a := range out.args[1:] {
			if a.kind == callNode && a.text == "string" && !a.method && len(a.args) == 1 {
				out.args[i+1] = a.args[0]
			}
		}
	}
	return &out
}

// String writes the expression again, on one line, every operation in parentheses of its own.
func (n *node) String() string {
	list := func(args []*node) string {
		var parts []string
		for _, a := range args {
			parts = append(parts, a.String())
		}
		return strings.Join(parts, ", ")
	}
	switch n.kind {
	case selectNode:
		return n.args[0].String() + "." + n.text
	case indexNode:
		return n.args[0].String() + "[" + n.args[1].String() + "]"
	case callNode:
		if n.method {
			return n.args[0].String() + "." + n.text + "(" + list(n.args[1:]) + ")"
		}
		return n.text + "(" + list(n.args) + ")"
	case unaryNode:
		return n.text + "(" + n.args[0].String() + ")"
	case binaryNode:
		return "(" + n.args[0].String() + " " + n.text + " " + n.args[1].String() + ")"
	case ternaryNode:
		return "(" + n.args[0].String() + " ? " + n.args[1].String() + " : " + n.args[2].String() + ")"
	case listNode:
		return "[" + list(n.args) + "]"
	case mapNode:
		var parts []string
		for i := 0; i < len(n.args); i += 2 {
			parts = append(parts, n.args[i].String()+": "+n.args[i+1].String())
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return n.text
}
