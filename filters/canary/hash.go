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
	best, at := math.Inf(-1), -1
	for i := range sides {
		if sides[i].weight == 0 {
			continue
		}
		u := (float64(match.Mix(key^sides[i].hash)>>11) + 0.5) * 0x1p-53
		if score := -sides[i].weight / math.Log(u); score > best {
			best, at = score, i
		}
	}
	return at
}
