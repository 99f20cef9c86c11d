package wasmtest

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Headers is a header map in order; names are lower case, and pseudo headers are among them (":path").
type Headers [][2]string

// H makes Headers of "name: value" lines. It panics on a line without a colon after its first character.
func H(lines ...string) Headers {
	out := make(Headers, 0, len(lines))
	for _, l := range lines {
		i := strings.IndexByte(l[min(1, len(l)):], ':') + 1
		if i == 0 {
			panic("wasmtest: header without a colon: " + l)
		}
		out = append(out, [2]string{strings.ToLower(l[:i]), strings.TrimSpace(l[i+1:])})
	}
	return out
}

// Get returns the first value of name, "" if there is none.
func (h Headers) Get(name string) string {
	for _, e := range h {
		if e[0] == name {
			return e[1]
		}
	}
	return ""
}

// Values returns all values of name.
func (h Headers) Values(name string) []string {
	var out []string
	for _, e := range h {
		if e[0] == name {
			out = append(out, e[1])
		}
	}
	return out
}

// Has tells whether name is there.
func (h Headers) Has(name string) bool { return len(h.Values(name)) > 0 }

func (h Headers) without(name string) Headers {
	out := make(Headers, 0, len(h))
	for _, e := range h {
		if e[0] != name {
			out = append(out, e)
		}
	}
	return out
}

// encode writes h as the ABI does: the number, all sizes, then all texts, each with a NUL after it.
func (h Headers) encode() []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(h)))
	for _, e := range h {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e[1])))
	}
	for _, e := range h {
		out = append(append(out, e[0]...), 0)
		out = append(append(out, e[1]...), 0)
	}
	return out
}

var errPairs = errors.New("malformed header pairs")

// decode reads what encode writes.
func decode(b []byte) (Headers, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 4 {
		return nil, errPairs
	}
	n := int(binary.LittleEndian.Uint32(b))
	at := 4 + 8*n
	if n > len(b) || at > len(b) {
		return nil, errPairs
	}
	take := func(size uint32) (string, bool) {
		end := at + int(size)
		if end < at || end >= len(b) || b[end] != 0 {
			return "", false
		}
		s := string(b[at:end])
		at = end + 1
		return s, true
	}
	out := make(Headers, 0, n)
	for i := range n {
		name, ok1 := take(binary.LittleEndian.Uint32(b[4+8*i:]))
		value, ok2 := take(binary.LittleEndian.Uint32(b[8+8*i:]))
		if !ok1 || !ok2 {
			return nil, errPairs
		}
		out = append(out, [2]string{strings.ToLower(name), value})
	}
	return out, nil
}
