package filter

import (
	"strconv"
	"unsafe"
)

// maxText bounds the text that a Run keeps room for from one exchange to the next, in bytes.
const maxText = 4 << 10

// Text returns b as a string that holds until the exchange has ended, as the strings of a snapshot do: for header
// values. A host that uses its Run again pays no allocation for it.
func (x *Exchange) Text(b []byte) string {
	if x.run == nil {
		return string(b)
	}
	return x.run.since(append(x.run.room(len(b)), b...))
}

// Decimal is Text of a number.
func (x *Exchange) Decimal(n int64) string {
	if x.run == nil {
		return strconv.FormatInt(n, 10)
	}
	return x.run.since(strconv.AppendInt(x.run.room(20), n, 10))
}

// room returns the text so far with capacity for n bytes more. What is there is never moved: strings point to it.
func (r *Run) room(n int) []byte {
	if len(r.text)+n > cap(r.text) {
		r.text = make([]byte, 0, max(512, 2*cap(r.text), n))
	}
	return r.text
}

// since keeps what was appended to room and returns it.
func (r *Run) since(text []byte) string {
	added := text[len(r.text):]
	r.text = text
	return unsafe.String(unsafe.SliceData(added), len(added))
}
