package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
	"unicode/utf8"
)

// The messages of envoy.service.ratelimit.v3, by hand: a policy may use the standard library only, and needs little
// of them. What is not needed is skipped. A fuzz test holds both directions to the generated code.

// rlsPath is the gRPC method.
const rlsPath = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"

// Wire types of protobuf.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wireGroup  = 3
	wireEnd    = 4
	wire32     = 5
)

// Entries of a descriptor: the first names the limit, one more for each part of the key.
const (
	entryLimit = "limit"
	entryKey   = "key"
)

// rlsDescriptor is what is asked about one limit.
type rlsDescriptor struct {
	limit string
	parts []string // of the key, in wireValue's form
	// requests and unit override the service's own numbers; 0: no override.
	requests uint32
	unit     uint32
	hits     uint64 // what the request costs; 0 or 1: one, which is not said
}

// rlsUnit is Envoy's RateLimitUnit of a period; 0: it has none.
func rlsUnit(per time.Duration) uint32 {
	switch per {
	case time.Second:
		return 1
	case time.Minute:
		return 2
	case time.Hour:
		return 3
	case 24 * time.Hour:
		return 4
	}
	return 0
}

// wireValue makes v fit for the wire: text of protobuf is UTF-8, headers need not be, and a call is bounded.
func wireValue(v string) string {
	if len(v) > maxKeyBytes {
		sum := sha256.Sum256([]byte(v))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	if !utf8.ValidString(v) {
		return "hex:" + hex.EncodeToString([]byte(v))
	}
	return v
}

// rlsRequest is a RateLimitRequest in a gRPC frame.
func rlsRequest(domain string, ds []rlsDescriptor) []byte {
	size := sizeText(domain)
	for i := range ds {
		size += sizeNested(ds[i].size())
	}
	b := make([]byte, 0, 5+size)
	b = append(b, 0) // not compressed
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = appendText(b, 1, domain)
	for i := range ds {
		b = ds[i].append(appendLength(b, 2, ds[i].size()))
	}
	return b
}

func (d *rlsDescriptor) size() int {
	n := sizeNested(sizeText(entryLimit) + sizeText(d.limit))
	for _, p := range d.parts {
		n += sizeNested(sizeText(entryKey) + sizeText(p))
	}
	if d.requests > 0 {
		n += sizeNested(d.sizeOverride())
	}
	if d.hits > 1 {
		n += sizeNested(1 + sizeVarint(d.hits))
	}
	return n
}

func (d *rlsDescriptor) sizeOverride() int {
	return 2 + sizeVarint(uint64(d.requests)) + sizeVarint(uint64(d.unit))
}

func (d *rlsDescriptor) append(b []byte) []byte {
	b = appendEntry(b, entryLimit, d.limit)
	for _, p := range d.parts {
		b = appendEntry(b, entryKey, p)
	}
	if d.requests > 0 {
		b = appendLength(b, 2, d.sizeOverride())
		b = binary.AppendUvarint(append(b, 1<<3|wireVarint), uint64(d.requests))
		b = binary.AppendUvarint(append(b, 2<<3|wireVarint), uint64(d.unit))
	}
	if d.hits > 1 { // a UInt64Value
		b = appendLength(b, 3, 1+sizeVarint(d.hits))
		b = binary.AppendUvarint(append(b, 1<<3|wireVarint), d.hits)
	}
	return b
}

func appendEntry(b []byte, key, value string) []byte {
	b = appendLength(b, 1, sizeText(key)+sizeText(value))
	return appendText(appendText(b, 1, key), 2, value)
}

func appendLength(b []byte, field byte, n int) []byte {
	return binary.AppendUvarint(append(b, field<<3|wireBytes), uint64(n))
}

func appendText(b []byte, field byte, v string) []byte {
	if v == "" {
		return b // proto3 leaves out what is empty
	}
	return append(appendLength(b, field, len(v)), v...)
}

func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func sizeNested(n int) int { return 1 + sizeVarint(uint64(n)) + n }

func sizeText(v string) int {
	if v == "" {
		return 0
	}
	return sizeNested(len(v))
}

// rlsAnswer is a RateLimitResponse, as far as it is needed.
type rlsAnswer struct {
	code     int32
	statuses []rlsStatus
}

// Codes of a RateLimitResponse.
const (
	codeUnknown = 0
	codeOK      = 1
	codeOver    = 2
)

// rlsStatus is a DescriptorStatus. reset is duration_until_reset in nanoseconds, bounded to what a duration holds.
type rlsStatus struct {
	code      int32
	remaining uint32
	seconds   int64
	nanos     int32
}

func (s *rlsStatus) reset() time.Duration {
	const most = int64(math.MaxInt64/time.Second) - 2
	return max(0, time.Duration(min(max(s.seconds, 0), most))*time.Second+time.Duration(s.nanos))
}

var errWire = errors.New("malformed protobuf")

// parseRLS reads the frame of a gRPC answer.
func parseRLS(body []byte) (*rlsAnswer, error) {
	if len(body) < 5 {
		return nil, fmt.Errorf("read the answer: %d bytes are no gRPC message", len(body))
	}
	if body[0] != 0 {
		return nil, errors.New("read the answer: it is compressed, which was not asked for")
	}
	if n := binary.BigEndian.Uint32(body[1:5]); uint64(n) != uint64(len(body)-5) {
		return nil, fmt.Errorf("read the answer: a message of %d bytes in a frame of %d", n, len(body)-5)
	}
	a := &rlsAnswer{}
	if err := a.parse(body[5:]); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return a, nil
}

func (a *rlsAnswer) parse(b []byte) error {
	return fields(b, func(num, wire int, v uint64, sub []byte) error {
		switch {
		case num == 1 && wire == wireVarint:
			a.code = int32(v)
		case num == 2 && wire == wireBytes:
			a.statuses = append(a.statuses, rlsStatus{})
			return a.statuses[len(a.statuses)-1].parse(sub)
		}
		return nil
	})
}

func (s *rlsStatus) parse(b []byte) error {
	return fields(b, func(num, wire int, v uint64, sub []byte) error {
		switch {
		case num == 1 && wire == wireVarint:
			s.code = int32(v)
		case num == 3 && wire == wireVarint:
			s.remaining = uint32(v)
		case num == 4 && wire == wireBytes:
			return fields(sub, func(num, wire int, v uint64, _ []byte) error {
				switch {
				case num == 1 && wire == wireVarint:
					s.seconds = int64(v)
				case num == 2 && wire == wireVarint:
					s.nanos = int32(v)
				}
				return nil
			})
		}
		return nil
	})
}

// fields calls f for every field of a message: v is the value of a number, sub the content of what has a length.
// Groups, which nothing uses any more, are passed over.
func fields(b []byte, f func(num, wire int, v uint64, sub []byte) error) error {
	var open []int // groups
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		num := tag >> 3
		if n <= 0 || num == 0 || num > 1<<29-1 {
			return errWire
		}
		b = b[n:]
		var v uint64
		var sub []byte
		wire := int(tag & 7)
		switch wire {
		case wireVarint:
			if v, n = binary.Uvarint(b); n <= 0 {
				return errWire
			}
			b = b[n:]
		case wireBytes:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return errWire
			}
			sub, b = b[n:n+int(size)], b[n+int(size):]
		case wire32, wire64:
			n := 4
			if wire == wire64 {
				n = 8
			}
			if len(b) < n {
				return errWire
			}
			b = b[n:]
		case wireGroup:
			open = append(open, int(num))
			continue
		case wireEnd:
			if len(open) == 0 || open[len(open)-1] != int(num) {
				return errWire
			}
			open = open[:len(open)-1]
			continue
		default:
			return errWire
		}
		if len(open) == 0 {
			if err := f(int(num), wire, v, sub); err != nil {
				return err
			}
		}
	}
	if len(open) > 0 {
		return errWire
	}
	return nil
}
