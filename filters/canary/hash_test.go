package canary

import (
	"math"
	"strconv"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/match"
)

// keys are the hashes of users 0 to n-1, as a rule called "r" sees them.
func keys(t *testing.T) []uint64 {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	out := make([]uint64, n)
	salt := match.Salt("r")
	for i := range out {
		out[i] = match.Hash(salt, "user-"+strconv.Itoa(i))
	}
	return out
}

func sides(weights ...uint32) []side {
	var out []side
	for i, w := range weights {
		out = append(out, newSide(Destination{Name: "v" + strconv.Itoa(i+1), Weight: w}))
	}
	return out
}

// spread puts every key on its side, and holds the shares to 4 standard deviations.
func spread(t *testing.T, keys []uint64, weights ...uint32) []int8 {
	t.Helper()
	s := sides(weights...)
	placed, counts, sum := make([]int8, len(keys)), make([]int, len(s)), 0.0
	for _, w := range weights {
		sum += float64(w)
	}
	for i, k := range keys {
		at := rendezvous(k, s)
		placed[i] = int8(at)
		counts[at]++
	}
	n := float64(len(keys))
	for i, w := range weights {
		p := float64(w) / sum
		if sigma := math.Sqrt(n * p * (1 - p)); math.Abs(float64(counts[i])-n*p) > 4*sigma {
			t.Errorf("weights %v: side %d has %d keys, want %.0f, sigma %.0f", weights, i, counts[i], n*p, sigma)
		}
	}
	return placed
}

// Two sides, the canary growing from 0.01 % to 99 %: exact shares, and nobody moves back.
func TestTwoSidesGrow(t *testing.T) {
	ks := keys(t)
	var before []int8
	for _, w := range []uint32{0, 1, 100, 1000, 3000, 5000, 9900, 10000} { // of 10,000
		now := spread(t, ks, 10_000-w, w)
		for i := range before {
			if before[i] == 1 && now[i] != 1 {
				t.Fatalf("key %d left the canary when its weight rose to %d", i, w)
			}
		}
		before = now
	}
}

// Three sides, one weight growing and the others as they are: keys move to that side only.
func TestThreeSidesGrow(t *testing.T) {
	ks := keys(t)
	var before []int8
	for _, w := range []uint32{0, 1, 10, 30, 50, 99, 300} {
		now := spread(t, ks, 60, 40, w)
		for i := range before {
			if before[i] != now[i] && now[i] != 2 {
				t.Fatalf("key %d moved from %d to %d when side 2 rose to %d", i, before[i], now[i], w)
			}
		}
		before = now
	}
}

// The sum stays 100, as users write it: nobody leaves the growing side, even though others shrink.
func TestThreeSidesGrowWithinHundred(t *testing.T) {
	ks := keys(t)
	var before []int8
	for _, w := range [][]uint32{{80, 10, 10}, {60, 10, 30}, {40, 10, 50}, {1, 0, 99}} {
		now := spread(t, ks, w...)
		for i := range before {
			if before[i] == 2 && now[i] != 2 {
				t.Fatalf("key %d left the growing side at weights %v", i, w)
			}
		}
		before = now
	}
}

// The sides' order in the configuration does not matter.
func TestOrderDoesNotMatter(t *testing.T) {
	s := sides(50, 30, 20)
	turned := []side{s[2], s[0], s[1]}
	for _, k := range keys(t)[:10_000] {
		if a, b := s[rendezvous(k, s)], turned[rendezvous(k, turned)]; a != b {
			t.Fatalf("key %#x: %v and %v", k, a, b)
		}
	}
}

// Where these users go must never change: a new version of Mizzen would move people.
func TestPlacementIsStable(t *testing.T) {
	want := "1102000101100220201002000110020110002010"
	s := sides(50, 30, 20)
	got := ""
	for i := range len(want) {
		got += strconv.Itoa(rendezvous(match.Hash(match.Salt("r"), "user-"+strconv.Itoa(i)), s))
	}
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkRendezvous(b *testing.B) {
	s := sides(90, 10)
	for b.Loop() {
		rendezvous(match.Hash(match.Salt("r"), "user-12345"), s)
	}
}

func TestMinusLog(t *testing.T) {
	for _, u := range []float64{0x1p-53, 0.001, 0.3, 0.5, 0.7071067811865475, 0.7071067811865477, 0.9, 0.9999, 1 - 0x1p-53} {
		if got, want := minusLog(u), -math.Log(u); math.Abs(got-want) > 1e-14*want {
			t.Errorf("%v: %v, want %v", u, got, want)
		}
	}
}

// The lowest and the highest hash still make a finite, positive score.
func TestMinusLogAtTheEnds(t *testing.T) {
	for _, h := range []uint64{0, math.MaxUint64} {
		u := (float64(h>>12) + 0.5) * 0x1p-52
		if e := minusLog(u); !(e > 0) || math.IsInf(e, 0) {
			t.Errorf("%#x: %v", h, e)
		}
	}
}
