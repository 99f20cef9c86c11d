package istio

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML document of a file.
type document struct {
	text string
	line int // lines before it
}

// split cuts a file at its document markers. We do it, not the YAML decoder, because that stops at the first syntax error;
// a marker at the start of a line ends a document even within a block scalar.
func split(text string) []document {
	text = strings.TrimPrefix(text, "\ufeff")
	var docs []document
	start, line, startLine := 0, 0, 0
	for at := 0; at < len(text); {
		end := strings.IndexByte(text[at:], '\n')
		next := len(text)
		if end >= 0 {
			next = at + end + 1
		}
		if l := strings.TrimRight(text[at:next], "\r\n"); at > start && marker(l) {
			docs = append(docs, document{text[start:at], startLine})
			start, startLine = at, line
		}
		at = next
		line++
	}
	docs = append(docs, document{text[start:], startLine})
	if len(docs) == 1 {
		return values(docs[0])
	}
	return docs
}

// values cuts a stream of JSON objects, one after the other without a marker, as kubectl and jq write them.
func values(d document) []document {
	if !strings.HasPrefix(strings.TrimLeft(d.text, " \t\r\n"), "{") {
		return []document{d}
	}
	var docs []document
	dec := json.NewDecoder(strings.NewReader(d.text))
	for at := 0; ; {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) && len(docs) > 0 {
			return docs
		}
		if err != nil { // not JSON after all: YAML's flow style begins alike
			return []document{d}
		}
		end := int(dec.InputOffset())
		docs = append(docs, document{d.text[at:end], d.line + strings.Count(d.text[:at], "\n")})
		at = end
	}
}

func marker(line string) bool {
	rest, ok := strings.CutPrefix(line, "---")
	return ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// parse reads one document; nil if it is empty or not YAML (then with a diagnostic).
func (d document) parse(file string) (*node, Diagnostics) {
	dec := yaml.NewDecoder(strings.NewReader(d.text))
	r := &reader{file: file, line: d.line, left: maxNodes}
	var root *node
	for {
		var y yaml.Node
		err := dec.Decode(&y)
		if errors.Is(err, io.EOF) {
			return root, r.diags
		}
		if err != nil {
			return nil, append(r.diags, d.syntax(file, err))
		}
		if len(y.Content) == 0 || root != nil {
			continue // "..." ends a document too; what follows it without "---" has no meaning for us
		}
		n := r.node(y.Content[0], 0)
		if n.kind != nullNode {
			root = n
		}
	}
}

var errorLine = regexp.MustCompile(`(?s)^yaml: (?:while [^:]*: )?line (\d+)(?:, column (\d+))?: (.*)$`)

// syntax turns the parser's error into a diagnostic; a tab in the indentation is by far the most common cause.
func (d document) syntax(file string, err error) Diagnostic {
	out := Diagnostic{Code: CodeSyntax, Severity: Error, Position: Position{File: file, Line: d.line + 1}, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	at := 0
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		at, _ = strconv.Atoi(m[1])
		out.Position.Line = d.line + at
		out.Position.Column, _ = strconv.Atoi(m[2])
		out.Message = m[3]
	}
	lines := strings.Split(d.text, "\n")
	for i, l := range lines {
		indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		if col := strings.IndexByte(indent, '\t'); col >= 0 && len(indent) < len(strings.TrimRight(l, "\r")) && (at == 0 || i <= at) {
			out.Position.Line, out.Position.Column = d.line+i+1, col+1
			out.Message, out.Fix = "a tab in the indentation", "YAML wants spaces"
			return out
		}
	}
	out.Message = "this is not YAML: " + out.Message
	return out
}
