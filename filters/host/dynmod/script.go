package dynmod

// #include "envoy.h"
import "C"

import (
	"encoding/binary"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// script is a list of operations (mz_op) for C to play when Go returns: one crossing for all of them. It is written
// straight into memory of C.
type script struct {
	c   *C.mz_script
	buf []byte // what is written, with the capacity of c
}

// open begins a script in c.
func (s *script) open(c *C.mz_script) {
	s.c = c
	s.buf = unsafe.Slice((*byte)(c.at), c.capacity)[:0]
}

// close hands the script to C.
func (s *script) close() { s.c.length = C.size_t(len(s.buf)) }

// room makes room for n bytes more.
func (s *script) room(n int) {
	if need := len(s.buf) + n; need > cap(s.buf) {
		C.mz_grow(s.c, C.size_t(2*need+1024))
		s.buf = unsafe.Slice((*byte)(s.c.at), s.c.capacity)[:len(s.buf)]
	}
}

// op writes the head of an operation; as many texts must follow.
func (s *script) op(code int, id uint64, n int64, texts int) {
	s.room(C.sizeof_mz_op)
	b := binary.NativeEndian.AppendUint32(s.buf, uint32(code))
	b = binary.NativeEndian.AppendUint32(b, uint32(texts))
	b = binary.NativeEndian.AppendUint64(b, id)
	s.buf = binary.NativeEndian.AppendUint64(b, uint64(n))
}

func (s *script) text(t string) {
	s.room(4 + len(t))
	s.buf = appendText(s.buf, t)
}

// appendText writes a string as scripts have them.
func appendText(b []byte, t string) []byte {
	return append(binary.NativeEndian.AppendUint32(b, uint32(len(t))), t...)
}

// edits writes what was changed in a header map. The ABI takes an empty value for removal, so a header cannot be set
// to "": it is removed instead.
func (s *script) edits(kind uint64, edits []filter.Edit) {
	for i := range edits {
		e := &edits[i]
		switch {
		case e.Op == filter.EditRemove || e.Op == filter.EditSet && e.Value == "":
			s.op(C.MZ_REMOVE, kind, 0, 1)
			s.text(e.Name)
			continue
		case e.Op == filter.EditSet:
			s.op(C.MZ_SET, kind, 0, 2)
		case e.Value == "":
			continue
		default:
			s.op(C.MZ_ADD, kind, 0, 2)
		}
		s.text(e.Name)
		s.text(e.Value)
	}
}

func (s *script) annotate(key, value string) {
	s.op(C.MZ_ANNOTATE, 0, 0, 3)
	s.text(Namespace)
	s.text(key)
	s.text(value)
}

func (s *script) flag(code string) {
	s.op(C.MZ_FLAG, 0, 0, 1)
	s.text(code)
}

// move moves a metric: it is the script's part of teller.
func (s *script) move(id uint64, gauge bool, n int64, labels []string) {
	code := C.MZ_COUNT
	switch {
	case gauge && n < 0:
		code, n = C.MZ_LOWER, -n
	case gauge:
		code = C.MZ_RAISE
	}
	s.op(code, id, n, len(labels))
	for _, l := range labels {
		s.text(l)
	}
}

// reset ends a script with the end of the stream.
func (s *script) reset(details string) {
	s.op(C.MZ_RESET, 0, 0, 1)
	s.text(details)
}

// reply ends a script with a local reply.
func (s *script) reply(status int, headers []filter.Header, body, details string) {
	s.op(C.MZ_REPLY, 0, int64(status), 2+2*len(headers))
	s.text(details)
	s.text(body)
	for _, h := range headers {
		s.text(h.Name)
		s.text(h.Value)
	}
}
