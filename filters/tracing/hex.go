package tracing

import "encoding/binary"

// Hexadecimal digits, eight at a time in one word, most significant first: there are about a hundred in a request, and
// a branch on a random digit costs more than the arithmetic.
const (
	ones    = 0x0101010101010101
	nibbles = 0x0f * ones
)

// spread writes v as eight lower-case digits, a byte each.
func spread(v uint32) uint64 {
	x := uint64(v)
	x = (x<<16 | x) & 0x0000ffff0000ffff
	x = (x<<8 | x) & 0x00ff00ff00ff00ff
	x = (x<<4 | x) & nibbles
	letters := (x + 6*ones) >> 4 & ones // 1 where the digit is 10 or more
	return x + '0'*ones + letters*('a'-10-'0')
}

// gather is the inverse of spread; what it makes of other bytes means nothing.
func gather(x uint64) uint32 {
	letters := x >> 6 & ones
	x = x&nibbles + letters*9
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

// appendHex appends v as 16 digits.
func appendHex(b []byte, v uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, spread(uint32(v>>32)))
	return binary.BigEndian.AppendUint64(b, spread(uint32(v)))
}

// parseLower16 reads exactly 16 lower-case digits: those that appendHex would write back.
func parseLower16(s string) (v uint64, ok bool) {
	if len(s) != 16 {
		return 0, false
	}
	left, right := load(s[:8]), load(s[8:])
	hi, lo := gather(left), gather(right)
	return uint64(hi)<<32 | uint64(lo), spread(hi) == left && spread(lo) == right
}

// load reads eight bytes as one word.
func load(s string) uint64 {
	_ = s[7]
	return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 |
		uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
}

// parseLowerByte reads two lower-case digits.
func parseLowerByte(s string) (v uint64, ok bool) {
	v, ok = parseHex(s)
	return v, ok && !capital(s[0]) && !capital(s[1])
}

func capital(c byte) bool { return c >= 'A' && c <= 'F' }

// parseHex reads 1 to 16 digits, of either case.
func parseHex(s string) (v uint64, ok bool) {
	if v, ok = parseLower16(s); ok {
		return v, true
	}
	if len(s) == 0 || len(s) > 16 {
		return 0, false
	}
	v = 0
	for i := 0; i < len(s); i++ {
		d := hexDigit(s[i])
		if d > 15 {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

// hexDigit is the value of a hexadecimal digit, 255 if c is none.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
