package graph

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// label is how a node is called where there is little room. Namespaces are told where there are several.
func (g Graph) label(n *Node) string {
	name := n.Name
	if n.Version != "" {
		name += " " + n.Version
	}
	if n.Namespace != "" && g.spread() {
		name += " (" + n.Namespace + ")"
	}
	return name
}

// spread tells whether nodes are in several namespaces. Gateways mostly are in one of their own, and named for what they are.
func (g Graph) spread() bool {
	first := ""
	for _, n := range g.Nodes {
		switch {
		case n.Namespace == "" || n.Kind == KindGateway:
		case first == "":
			first = n.Namespace
		case n.Namespace != first:
			return true
		}
	}
	return false
}

func (g Graph) node(id string) *Node {
	for _, n := range g.Nodes {
		if n.ID == id {
			return n
		}
	}
	return &Node{ID: id, Name: id}
}

// rate, errors and tls of an edge in words.
func (e *Edge) rate(window float64) string {
	if window == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f/s", e.Rate)
}

func (e *Edge) errors() string { return fmt.Sprintf("%.1f%%", 100*e.Errors) }

func (g Graph) tls(e *Edge) string {
	switch {
	case e.TLS == TLSNone:
		return "no"
	case e.TLS == TLSSome:
		return "partly"
	case g.node(e.To).Kind == KindExternal:
		return "TLS"
	}
	return "mTLS"
}

// words are what stands at an edge.
func (g Graph) words(e *Edge) string {
	var out []string
	if g.Window > 0 {
		out = append(out, e.rate(g.Window))
	} else {
		out = append(out, fmt.Sprint(e.Requests))
	}
	if e.Errors > 0 {
		out = append(out, e.errors()+" errors")
	}
	if e.P95 > 0 {
		out = append(out, "p95 "+timeText(e.P95))
	}
	if e.Protocol == protocolTCP {
		out = append(out, "tcp")
	}
	return strings.Join(out, ", ")
}

// Table writes an edge a line.
func (g Graph) Table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(tw, "FROM\tTO\tPROTOCOL\tRATE\tERRORS\tTLS\tREQUESTS\tFAILED\tP50\tP95")
	for _, e := range g.Edges {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", g.label(g.node(e.From)), g.label(g.node(e.To)), e.Protocol, e.rate(g.Window), e.errors(), g.tls(e), e.Requests, e.Failed, timeText(e.P50), timeText(e.P95))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print graph: %w", err)
	}
	return nil
}

// dotText quotes a text for DOT.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// DOT writes the graph for Graphviz.
func (g Graph) DOT(w io.Writer) error {
	var b strings.Builder
	b.WriteString("digraph mesh {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n")
	for _, n := range g.Nodes {
		shape := map[string]string{KindGateway: ", shape=cds", KindExternal: ", shape=ellipse", KindService: ", style=\"rounded,dashed\""}[n.Kind]
		fmt.Fprintf(&b, "  %s [label=%s%s];\n", dotText(n.ID), dotText(g.label(n)), shape)
	}
	for _, e := range g.Edges {
		look := ""
		if e.Errors > 0 {
			look = ", color=red"
		}
		if e.TLS == TLSNone {
			look += ", style=dashed"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%s%s];\n", dotText(e.From), dotText(e.To), dotText(g.words(e)), look)
	}
	b.WriteString("}\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print graph: %w", err)
	}
	return nil
}
