package golang

import (
	"slices"
	"strings"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// loader takes the snapshot of one of Envoy's header maps. The SDK copies the map in one crossing.
type loader struct{ m api.HeaderMap }

// LoadHeaders returns the headers by name. The SDK keeps the order among values of one name only.
func (l *loader) LoadHeaders() []filter.Header {
	out := make([]filter.Header, 0, 24)
	l.m.Range(func(name, value string) bool {
		out = append(out, filter.Header{Name: name, Value: value})
		return true
	})
	slices.SortStableFunc(out, func(a, b filter.Header) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// write replays edits on one of Envoy's header maps. Away from the worker thread the SDK posts them to it, in order
// with the Continue or the reply that follows.
func write(m api.HeaderMap, edits []filter.Edit) {
	for i := range edits {
		switch e := &edits[i]; e.Op {
		case filter.EditSet:
			m.Set(e.Name, e.Value)
		case filter.EditAdd:
			m.Add(e.Name, e.Value)
		case filter.EditRemove:
			m.Del(e.Name)
		}
	}
}
