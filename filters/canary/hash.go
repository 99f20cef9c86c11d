package canary

import (
	"math"

	"github.com/mizzen-mesh/mizzen/filters/match"
)

// side is one destination as the hash sees it.
type side struct {
	hash   uint64 // of its name
	weight float64
}

func newSide(d Destination) side { return side{match.Hash(match.Salt(), d.Name), float64(d.Weight)} }

// rendezvous picks the side whose score -weight/ln(u) is the highest, u being uniform in (0,1) and drawn from the key
// and the side's name alone. A side's share is its weight over the sum; a score rises with its own weight and depends
// on no other, so raising one weight only moves keys to that side. Sides of weight 0 are never picked.
func rendezvous(key uint64, sides []side) int {
	best, at := 0.0, -1
	for i := range sides {
		if sides[i].weight == 0 {
			continue
		}
		// 52 bits and a half: exact, and never 0 or 1.
		u := (float64(match.Mix(key^sides[i].hash)>>12) + 0.5) * 0x1p-52
		if score := sides[i].weight / minusLog(u); score > best {
			best, at = score, i
		}
	}
	return at
}

// minusLog is -ln(u) for u in (0,1), to some 15 digits. Not math.Log, which is assembly on some architectures and
// need not give the same last bit everywhere; the conversions forbid fused multiply-add for the same reason.
func minusLog(u float64) float64 {
	b := math.Float64bits(u)
	e := float64(int(b>>52) - 1023)
	m := math.Float64frombits(b&(1<<52-1) | 1023<<52) // u = m * 2^e, m in [1,2)
	if m > math.Sqrt2 {
		m, e = m/2, e+1
	}
	// ln(m) = 2 artanh(s) = 2 (s + s^3/3 + s^5/5 + ...), |s| < 0.172.
	s := (m - 1) / (m + 1)
	q := float64(s * s)
	sum := 0.0
	for _, c := range [...]float64{1. / 19, 1. / 17, 1. / 15, 1. / 13, 1. / 11, 1. / 9, 1. / 7, 1. / 5, 1. / 3, 1} {
		sum = float64(sum*q) + c
	}
	return -(float64(e*math.Ln2) + float64(2*float64(s*sum)))
}
