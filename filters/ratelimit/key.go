package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// maxKeyBytes bounds what a key costs in memory: a longer one is kept as its SHA-256.
const maxKeyBytes = 256

// appendKey appends the request's key under l to b: every part with its length before it, so that different parts
// never join to the same key.
func (l *limit) appendKey(b []byte, x *filter.Exchange) []byte {
	start := len(b)
	for _, k := range l.key {
		v, _ := k.Value(x)
		b = appendPart(b, v)
	}
	return shorten(b, start)
}

// encode is appendKey for given parts.
func encode(b []byte, parts []string) []byte {
	start := len(b)
	for _, p := range parts {
		b = appendPart(b, p)
	}
	return shorten(b, start)
}

func appendPart(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func shorten(b []byte, start int) []byte {
	if len(b)-start <= maxKeyBytes {
		return b
	}
	sum := sha256.Sum256(b[start:])
	b = append(b[:start], 0x80, 0) // no length is written so: never equal to a short key
	return append(b, sum[:]...)
}
