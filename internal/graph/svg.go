package graph

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Sizes in the picture, in pixels.
const (
	boxHeight = 34.0
	rowStep   = 64.0
	letter    = 7.6 // of the labels' font, on average
	gap       = 150.0
	margin    = 16.0
)

// SVG draws the graph: calls go to the right. A dashed line is plaintext, a red one has failures. It is a whole document that may also stand
// within a page, and takes its colour from there.
func (g Graph) SVG(w io.Writer) error {
	p := picture{Graph: g, layout: arrange(g), x: map[string]float64{}, y: map[string]float64{}, width: map[string]float64{}}
	p.place()
	if _, err := io.WriteString(w, p.draw()); err != nil {
		return fmt.Errorf("draw graph: %w", err)
	}
	return nil
}

// picture is a graph whose nodes have places: x is the left side of a node, y its middle.
type picture struct {
	Graph
	layout
	x, y, width         map[string]float64
	totalWide, totalTop float64
}

func (p *picture) place() {
	labels := map[string]float64{}
	for _, n := range p.Nodes {
		labels[n.ID] = float64(len([]rune(p.label(n))))*letter + 24
	}
	tallest := 0
	for _, c := range p.columns {
		tallest = max(tallest, len(c))
	}
	at, half := margin, float64(max(tallest, 1))*rowStep/2+margin
	for _, c := range p.columns {
		wide := 0.0
		for _, id := range c {
			wide = max(wide, labels[id])
		}
		for i, id := range c {
			p.width[id] = labels[id]
			p.x[id], p.y[id] = at+(wide-labels[id])/2, half+(float64(i)-float64(len(c)-1)/2)*rowStep
		}
		at += wide + gap
	}
	p.totalWide, p.totalTop = max(at-gap, 0)+margin, 2*half
}

func (p *picture) draw() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="system-ui, sans-serif" font-size="13" color="#57606a">`+"\n",
		p.totalWide, p.totalTop, p.totalWide, p.totalTop)
	b.WriteString(`<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker></defs>` + "\n")
	for i, e := range p.Edges {
		p.edge(&b, e, p.paths[i])
	}
	for _, n := range p.Nodes {
		p.box(&b, n)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// colours of edges: by their share of failures.
func colour(e *Edge) string {
	switch {
	case e.Errors >= 0.05:
		return "#cf222e"
	case e.Errors > 0:
		return "#bf8700"
	}
	return "#2da44e"
}

func (p *picture) edge(b *strings.Builder, e *Edge, path []string) {
	dash := ""
	if e.TLS == TLSNone {
		dash = ` stroke-dasharray="5 4"`
	}
	d, x, y := p.curve(path)
	told := fmt.Sprintf("%s to %s: %d requests, %d failed, %s; TLS: %s", p.label(p.node(e.From)), p.label(p.node(e.To)), e.Requests, e.Failed, p.words(e), p.tls(e))
	if e.P50 > 0 {
		told += "; half of them within " + timeText(e.P50)
	}
	if len(e.Services) > 0 {
		told += "; by " + strings.Join(e.Services, ", ")
	}
	fmt.Fprintf(b, `<g class="edge"><title>%s</title><path d="%s" fill="none" stroke="%s" stroke-width="1.6"%s marker-end="url(#to)"/>`+
		`<text x="%.1f" y="%.1f" text-anchor="middle" font-size="11" fill="currentColor">%s</text></g>`+"\n",
		html.EscapeString(told), d, colour(e), dash, x, y, html.EscapeString(p.words(e)))
}

// curve leads through a path, and tells where the words stand: at its first part, above the line.
func (p *picture) curve(path []string) (d string, x, y float64) {
	from, to := path[0], path[len(path)-1]
	fx, fy := p.x[from]+p.width[from], p.y[from]
	if tx := p.x[to]; tx <= p.x[from] { // back: below the boxes
		low := max(fy, p.y[to]) + rowStep*0.75
		return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", fx, fy, fx+60, low, tx-60, low, tx, p.y[to]), (fx + tx) / 2, low - 10
	}
	var b strings.Builder
	fmt.Fprintf(&b, "M%.1f %.1f", fx, fy)
	for i, id := range path[1:] {
		tx, ty := p.x[id], p.y[id]
		if i == 0 {
			x, y = (fx+tx)/2, (fy+ty)/2-5
		}
		half := (tx - fx) / 2
		fmt.Fprintf(&b, "C%.1f %.1f %.1f %.1f %.1f %.1f", fx+half, fy, tx-half, ty, tx, ty)
		fx, fy = tx+p.width[id], ty
	}
	return b.String(), x, y
}

func (p *picture) box(b *strings.Builder, n *Node) {
	shape := map[string]string{KindGateway: ` rx="17"`, KindExternal: ` rx="17" stroke-dasharray="2 3"`, KindService: ` rx="6" stroke-dasharray="6 3"`}[n.Kind]
	if shape == "" {
		shape = ` rx="6"`
	}
	where := n.Kind
	if n.Namespace != "" {
		where += " in " + n.Namespace
	}
	x, y, wide := p.x[n.ID], p.y[n.ID], p.width[n.ID]
	fmt.Fprintf(b, `<g class="node"><title>%s: %s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.0f" fill="#8882" stroke="currentColor"%s/>`+
		`<text x="%.1f" y="%.1f" text-anchor="middle" fill="currentColor">%s</text></g>`+"\n",
		html.EscapeString(n.Name), html.EscapeString(where), x, y-boxHeight/2, wide, boxHeight, shape, x+wide/2, y+4.5, html.EscapeString(p.label(n)))
}
