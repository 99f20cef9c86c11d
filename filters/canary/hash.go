package canary

import "math"

// The hash is our own, so that every process, architecture and version of Go puts a key on the same side: FNV-1a over
// the bytes, and a finalizer that spreads the last bytes over all bits (that of MurmurHash3).

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// fnv continues an FNV-1a hash over s and one separating zero byte.
func fnv(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h * fnvPrime
}

// mix is a bijection in which every input bit moves every output bit.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// side is one destination as the hash sees it.
type side struct {
	hash   uint64 // of its name
	weight float64
}

// rendezvous picks the side whose score -weight/ln(u) is the highest, u being uniform in (0,1) and drawn from the key
// and the side's name alone. A side's share is its weight over the sum; a score rises with its own weight and depends
// on no other, so raising one weight only moves keys to that side. Sides of weight 0 are never picked.
func rendezvous(key uint64, sides []side) int {
	best, at := math.Inf(-1), -1
	for i := range sides {
		if sides[i].weight == 0 {
			continue
		}
		u := (float64(mix(key^sides[i].hash)>>11) + 0.5) * 0x1p-53
		if score := -sides[i].weight / math.Log(u); score > best {
			best, at = score, i
		}
	}
	return at
}
