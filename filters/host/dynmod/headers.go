package dynmod

import (
	"unsafe"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

type requestLoader struct{ s *stream }

// LoadHeaders takes the snapshot of the request's headers.
func (l *requestLoader) LoadHeaders() []filter.Header {
	l.s.entries[0] = snapshot(l.s.entries[0], l.s.h.RequestHeaders())
	return l.s.entries[0]
}

type responseLoader struct{ s *stream }

// LoadHeaders takes the snapshot of the response's headers.
func (l *responseLoader) LoadHeaders() []filter.Header {
	l.s.entries[1] = snapshot(l.s.entries[1], l.s.h.ResponseHeaders())
	return l.s.entries[1]
}

// snapshot reads all headers at once and copies their text, in one block, out of Envoy's memory: what a policy keeps
// stays valid, whatever Envoy does with the stream. The copy costs one allocation.
func snapshot(into []filter.Header, m shared.HeaderMap) []filter.Header {
	all := m.GetAll()
	size := uint64(0)
	for i := range all {
		size += all[i][0].Len + all[i][1].Len
	}
	block := make([]byte, 0, size)
	text := func(b shared.UnsafeEnvoyBuffer) string {
		if b.Len == 0 {
			return ""
		}
		from := len(block)
		block = append(block, unsafe.Slice(b.Ptr, b.Len)...)
		return unsafe.String(&block[from], int(b.Len))
	}
	into = into[:0]
	for i := range all {
		into = append(into, filter.Header{Name: text(all[i][0]), Value: text(all[i][1])})
	}
	return into
}

// write replays edits on one of Envoy's header maps. The ABI takes an empty value for removal, so a header cannot be
// set to "": it is removed instead.
func write(m shared.HeaderMap, edits []filter.Edit) {
	for i := range edits {
		switch e := &edits[i]; e.Op {
		case filter.EditSet:
			m.Set(e.Name, e.Value)
		case filter.EditAdd:
			if e.Value != "" {
				m.Add(e.Name, e.Value)
			}
		case filter.EditRemove:
			m.Remove(e.Name)
		}
	}
}
