package dynmod

// #include "envoy.h"
import "C"

import (
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// snapshot is a copy of a header map in memory that is reused for every exchange: its strings hold until the exchange
// has ended.
type snapshot struct {
	entries []filter.Header
	block   []byte
}

// LoadHeaders implements filter.Loader for the request.
func (s *stream) LoadHeaders() []filter.Header { return s.load(C.MZ_REQUEST, &s.kept[0]) }

// responseLoader implements filter.Loader for the response.
type responseLoader struct{ s *stream }

// LoadHeaders takes the snapshot of the response's headers.
func (l responseLoader) LoadHeaders() []filter.Header { return l.s.load(C.MZ_RESPONSE, &l.s.kept[1]) }

// load copies the headers that C has gathered, and has it gather them if it has not.
func (s *stream) load(kind C.int, into *snapshot) []filter.Header {
	if s.c.gathered != kind {
		C.mz_gather(s.c, kind)
	}
	return into.take(unsafe.Slice(s.c.worker.headers, s.c.headers))
}

// take copies all headers, their text in one block.
func (k *snapshot) take(all []C.mz_header) []filter.Header {
	size := 0
	for i := range all {
		size += int(all[i].name.length + all[i].value.length)
	}
	if cap(k.block) < size {
		k.block = make([]byte, 0, 2*size)
	}
	block, entries := k.block[:0], k.entries[:0]
	for i := range all {
		from := len(block)
		block = append(block, bytesOf(all[i].name)...)
		mid := len(block)
		block = append(block, bytesOf(all[i].value)...)
		entries = append(entries, filter.Header{Name: view(block[from:mid]), Value: view(block[mid:])})
	}
	k.block, k.entries = block, entries
	return entries
}

// bytesOf is text in the memory of Envoy: it holds during the call from Envoy at most.
func bytesOf(t C.mz_text) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(t.ptr)), t.length) }

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
