package graph

import (
	"slices"
	"strings"
)

// layout puts nodes into columns so that calls go to the right, and into rows so that few edges cross. An edge over several columns
// passes through a place of its own in each.
type layout struct {
	columns [][]string // of nodes' IDs, or of places on the way, which begin with "\x00"
	paths   [][]string // for each edge of the graph the nodes and places that it leads through, from From to To
}

// arrange is the same for the same graph.
func arrange(g Graph) layout {
	var ids []string
	for _, n := range g.Nodes {
		ids = append(ids, n.ID)
	}
	back := cycles(ids, g.Edges)
	column := depths(ids, g.Edges, back)
	var l layout
	put := func(id string, c int) {
		for len(l.columns) <= c {
			l.columns = append(l.columns, nil)
		}
		l.columns[c] = append(l.columns[c], id)
	}
	for _, id := range ids {
		put(id, column[id])
	}
	for _, e := range g.Edges {
		path := []string{e.From}
		for c := column[e.From] + 1; c < column[e.To]; c++ {
			place := strings.Join([]string{"", e.From, e.To, e.Protocol, string(rune('0' + c))}, "\x00")
			put(place, c)
			path = append(path, place)
		}
		l.paths = append(l.paths, append(path, e.To))
	}
	l.sort()
	return l
}

// cycles finds the edges that lead back to where one comes from, in a walk from those that nobody calls.
func cycles(ids []string, edges []*Edge) map[*Edge]bool {
	out := map[string][]*Edge{}
	called := map[string]bool{}
	for _, e := range edges {
		out[e.From] = append(out[e.From], e)
		called[e.To] = called[e.To] || e.To != e.From
	}
	back := map[*Edge]bool{}
	const under, done = 1, 2
	state := map[string]int{}
	var walk func(id string)
	walk = func(id string) {
		state[id] = under
		for _, e := range out[id] {
			switch state[e.To] {
			case under:
				back[e] = true
			case 0:
				walk(e.To)
			}
		}
		state[id] = done
	}
	for _, first := range []bool{true, false} {
		for _, id := range ids {
			if state[id] == 0 && (!first || !called[id]) {
				walk(id)
			}
		}
	}
	return back
}

// depths is the longest way to each node.
func depths(ids []string, edges []*Edge, back map[*Edge]bool) map[string]int {
	depth := map[string]int{}
	for range ids { // as long as the longest way, at most
		moved := false
		for _, e := range edges {
			if !back[e] && depth[e.To] <= depth[e.From] {
				depth[e.To], moved = depth[e.From]+1, true
			}
		}
		if !moved {
			break
		}
	}
	return depth
}

// sweeps is how often columns are sorted by their neighbours; more hardly change anything.
const sweeps = 4

// sort moves each node near the middle of those beside it that it is connected with.
func (l *layout) sort() {
	left, right := map[string][]string{}, map[string][]string{}
	for _, p := range l.paths {
		for i := 1; i < len(p); i++ {
			left[p[i]] = append(left[p[i]], p[i-1])
			right[p[i-1]] = append(right[p[i-1]], p[i])
		}
	}
	for i := range sweeps {
		near := left
		if i%2 == 1 {
			near = right
		}
		for _, column := range l.columns {
			row := l.rows()
			slices.SortStableFunc(column, func(a, b string) int {
				switch x, y := middle(a, near[a], row), middle(b, near[b], row); {
				case x < y:
					return -1
				case x > y:
					return 1
				}
				return 0
			})
		}
	}
}

// rows are where nodes stand, from the middle of their column.
func (l *layout) rows() map[string]float64 {
	out := map[string]float64{}
	for _, c := range l.columns {
		for i, id := range c {
			out[id] = float64(i) - float64(len(c)-1)/2
		}
	}
	return out
}

func middle(id string, near []string, row map[string]float64) float64 {
	if len(near) == 0 {
		return row[id]
	}
	sum := 0.0
	for _, n := range near {
		sum += row[n]
	}
	return sum / float64(len(near))
}
