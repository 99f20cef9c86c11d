package server

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// anySet is some of a hundred resources, shared and a proxy's own.
func anySet(rnd *rand.Rand) xdsgen.Set {
	var shared, own []*xdsgen.Resource
	dense := rnd.IntN(4)
	for i := range 100 {
		r := res(fmt.Sprintf("n%02d@%d", i, rnd.IntN(3)))
		switch n := rnd.IntN(8); {
		case n < 2*dense:
			shared = append(shared, r)
		case n == 7:
			own = append(own, r)
		}
	}
	return xdsgen.Set{Shared: xdsgen.NewList(shared), Own: xdsgen.NewList(own)}
}

// some of a set, sorted by name: mostly nearly all of it.
func some(rnd *rand.Rand, s xdsgen.Set) []*xdsgen.Resource {
	out := slices.Collect(s.All())
	byName(out)
	leave := []int{0, 0, 1, 5, 50}[rnd.IntN(5)]
	for ; leave > 0 && len(out) > 0; leave-- {
		i := rnd.IntN(len(out))
		out = slices.Delete(out, i, i+1)
	}
	return out
}

func content(l *ledger) map[string]string {
	out := map[string]string{}
	l.each(func(name string, h held) bool { out[name] = h.version; return true })
	return out
}

// TestTakeIsManyPuts: what is noted of many resources at once is what noting them one by one gives.
func TestTakeIsManyPuts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 1))
	for round := range 300 {
		var a, b ledger
		for step := range 5 {
			from := anySet(rnd)
			set := some(rnd, from)
			a.take(set, from)
			for _, x := range set {
				b.put(x.Name, held{x.Version, x})
			}
			for range 3 {
				name := fmt.Sprintf("n%02d", rnd.IntN(100))
				if rnd.IntN(2) == 0 {
					a.drop(name)
					b.drop(name)
				} else {
					a.put(name, held{})
					b.put(name, held{})
				}
			}
			if rnd.IntN(2) == 0 {
				a.settle(from)
			}
			if x, y := content(&a), content(&b); !maps.Equal(x, y) {
				t.Fatalf("round %d, step %d: holds %v, want %v", round, step, x, y)
			}
		}
	}
}

// TestAdoptIsManyAdds: names that are asked for at once are what asking for them one by one gives.
func TestAdoptIsManyAdds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 1))
	for round := range 300 {
		from := anySet(rnd)
		names := []string{"other", "n00"}[:rnd.IntN(3)]
		for _, r := range some(rnd, from) {
			names = append(names, r.Name)
		}
		if rnd.IntN(2) == 0 {
			rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		var a, b nameSet
		a.adopt(slices.Clone(names), from)
		for _, name := range names {
			b.add(name)
		}
		if !a.equal(&b) {
			t.Fatalf("round %d: %v of %d adopted wrongly", round, names, from.Len())
		}
	}
}

// TestWholeSetTravelsInPieces: an answer that is all of a set has the same bytes, in another order, as one made of single frames.
func TestWholeSetTravelsInPieces(t *testing.T) {
	from := anySet(rand.New(rand.NewPCG(7, 1)))
	body := slices.Collect(from.All())
	whole := deltaPacket(&response{kind: clusters, nonce: "1", set: body, body: body, from: from})
	single := deltaPacket(&response{kind: clusters, nonce: "1", set: body, body: body})
	if len(whole.BufferSlice) >= len(single.BufferSlice) || !bytes.Equal(whole.Materialize(), single.Materialize()) {
		t.Errorf("%d pieces of %d bytes, want fewer than %d with the same %d bytes", len(whole.BufferSlice), whole.Len(), len(single.BufferSlice), single.Len())
	}
}
