package registry_test

import (
	"slices"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// loaded is a host's header map, handed over when it is asked for.
type loaded struct{ now *[]filter.Header }

// LoadHeaders implements filter.Loader.
func (l loaded) LoadHeaders() []filter.Header { return slices.Clone(*l.now) }

// FuzzHeaders: a header map whose snapshot is taken late says and writes what one says and writes that was taken at once,
// and the edits, replayed, make the host's map the policies' own.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Add([]byte{2, 6, 0, 10, 4, 1, 9, 5})
	f.Add([]byte("set, add, remove and read"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		original := []filter.Header{{Name: ":path", Value: "/"}, {Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}
		hosts := [2][]filter.Header{slices.Clone(original), slices.Clone(original)}
		early, late := filter.NewHeaders(original), &filter.Headers{}
		late.ResetLazy(loaded{&hosts[1]})
		for i, op := range ops[:min(len(ops), 100)] {
			name, value := string("abcd"[op/8%4]), string('0'+rune(op%10))
			for k, h := range []*filter.Headers{early, late} {
				switch op % 8 {
				case 0:
					h.Set(name, value)
				case 1:
					h.Add(name, value)
				case 2:
					h.Remove(name)
				case 3:
					hosts[k] = replay(hosts[k], h.TakeEdits())
				}
			}
			if op%8 != 4 {
				continue
			}
			v, ok := early.Get(name)
			if w, also := late.Get(name); v != w || ok != also {
				t.Fatalf("after %d operations %s is %q, %v; taken late %q, %v", i, name, v, ok, w, also)
			}
		}
		for k, h := range []*filter.Headers{early, late} {
			hosts[k] = replay(hosts[k], h.TakeEdits())
			if !slices.Equal(hosts[k], h.All()) {
				t.Fatalf("map %d: the host has %q, the policies see %q", k, hosts[k], h.All())
			}
		}
		if !slices.Equal(early.All(), late.All()) {
			t.Fatalf("%q, taken late %q", early.All(), late.All())
		}
	})
}

// replay does to a host's map what the edits say.
func replay(headers []filter.Header, edits []filter.Edit) []filter.Header {
	for _, e := range edits {
		if e.Op != filter.EditAdd {
			headers = slices.DeleteFunc(headers, func(h filter.Header) bool { return h.Name == e.Name })
		}
		if e.Op != filter.EditRemove {
			headers = append(headers, filter.Header{Name: e.Name, Value: e.Value})
		}
	}
	return headers
}
