package canary

import (
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

var start = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// growing is a rule whose canary grows to the shares given, in parts of 10,000, one step every ten minutes.
func growing(t *testing.T, shares ...uint32) *rule {
	t.Helper()
	r := Rule{Name: "r", Destinations: []Destination{{Name: "v1", Weight: 10_000, Route: "a"}, {Name: "v2", Route: "b"}}}
	for i, s := range shares {
		r.Steps = append(r.Steps, Step{At: start.Add(time.Duration(i) * 10 * time.Minute), Weights: map[string]uint32{"v1": 10_000 - s, "v2": s}})
	}
	out, err := newRule(r)
	if err != nil {
		t.Fatal(err)
	}
	return &out
}

// Through a whole roll-out, from 0 over 0.01 % to all: at every step the shares are exact, and nobody moves back.
func TestStepsMoveNobodyBack(t *testing.T) {
	ks := keys(t)
	shares := []uint32{0, 1, 500, 2500, 5000, 9999, 10_000}
	r := growing(t, shares[1:]...)
	before := make([]int8, len(ks))
	for i, share := range shares {
		x := &filter.Exchange{Now: start.Add(time.Duration(i-1)*10*time.Minute + time.Second)}
		now := r.stage(x)
		want := sides(10_000-share, share)
		if now.sides[0] != want[0] || now.sides[1] != want[1] {
			t.Fatalf("step %d has %v, want %v", i, now.sides, want)
		}
		placed := spread(t, ks, 10_000-share, share)
		for j := range placed {
			if before[j] == 1 && placed[j] != 1 {
				t.Fatalf("key %d left the canary at step %d", j, i)
			}
		}
		before = placed
	}
}

// A step begins at its time, not a nanosecond before.
func TestStageByTime(t *testing.T) {
	r := growing(t, 100, 5000, 10_000)
	for _, c := range []struct {
		now  time.Time
		want float64
	}{
		{time.Time{}, 0}, {start.Add(-1), 0}, {start, 100}, {start.Add(10*time.Minute - 1), 100}, {start.Add(10 * time.Minute), 5000},
		{start.Add(20 * time.Minute), 10_000}, {start.AddDate(10, 0, 0), 10_000},
	} {
		if got := r.stage(&filter.Exchange{Now: c.now}).sides[1].weight; got != c.want {
			t.Errorf("at %v the canary has %v, want %v", c.now, got, c.want)
		}
	}
}

func TestStepMistakes(t *testing.T) {
	const dest = `"destinations":[{"name":"v1","weight":1,"route":"a"},{"name":"v2","route":"b"}]`
	for _, c := range []struct{ steps, want string }{
		{`[{"weights":{"v2":1}}]`, "steps[0].at: is missing"},
		{`[{"at":"2026-11-21T10:00:00Z","weights":{"v3":1}}]`, `steps[0].weights: "v3" is no destination of this rule; write one of ["v1" "v2"]`},
		{`[{"at":"2026-11-21T10:00:00Z","weights":{"v1":0}}]`, "steps[0].weights: every weight is 0"},
		{`[{"at":"2026-11-21T10:00:00Z","weights":{}},{"at":"2026-11-21T10:00:00Z","weights":{}}]`, "steps[1].at: 2026-11-21T10:00:00Z is not after the step before"},
		{`[{"at":"tomorrow","weights":{}}]`, "tomorrow"},
		{`[{"at":"2026-11-21T10:00:00Z","weight":{}}]`, "unknown field"},
	} {
		_, err := ParseConfig([]byte(`{"rules":[{"name":"r",` + dest + `,"steps":` + c.steps + `}]}`))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.steps, err, c.want)
		}
	}
}

// 10^6 draws by chance at 0.01 %: 100 of them, within 4 sigma (10 each).
func TestDrawOneInTenThousand(t *testing.T) {
	r := growing(t, 1)
	now, random, n := r.stage(&filter.Exchange{Now: start}), seeded(1), 0
	for range 1_000_000 {
		n += now.draw(&random)
	}
	if n < 60 || n > 140 {
		t.Errorf("%d of a million, want 100 +- 40", n)
	}
}

// seeded is splitmix64.
type seeded uint64

func (s *seeded) Uint64() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
