package match

// The hash behind every decision by key is our own, so that each process, architecture and version of Go decides
// alike: FNV-1a over the bytes, then a finalizer that spreads the last ones over all bits (that of MurmurHash3).

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// Salt makes a salt for Hash; the parts are kept apart.
func Salt(parts ...string) uint64 {
	h := uint64(fnvOffset)
	for _, p := range parts {
		h = fnv(h, p)
	}
	return h
}

// Hash hashes key under a salt to 64 even bits. Stable for ever: stickiness hangs on it.
func Hash(salt uint64, key string) uint64 { return Mix(fnv(salt, key)) }

// fnv continues an FNV-1a hash over s and a zero byte, which no header value holds.
func fnv(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h * fnvPrime
}

// Mix is a bijection in which every bit of h moves every bit of the answer.
func Mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
