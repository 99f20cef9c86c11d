package canary

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// stage is a rule's weights from a time on.
type stage struct {
	at    time.Time // zero in the first: always
	sides []side
	total uint64 // sum of weights, never 0
}

// newStages makes what the destinations say, and one stage for each step.
func newStages(r Rule) ([]stage, error) {
	sides := make([]side, 0, len(r.Destinations))
	at := map[string]int{}
	for i, d := range r.Destinations {
		if len(r.Destinations) == 1 && d.Weight == 0 {
			d.Weight = 1
		}
		at[d.Name] = i
		sides = append(sides, newSide(d))
	}
	first := newStage(time.Time{}, sides)
	if first.total == 0 {
		return nil, fmt.Errorf("destinations: every weight is 0; give one of them a weight")
	}
	out := []stage{first}
	for i, s := range r.Steps {
		sides = slices.Clone(sides)
		for _, name := range slices.Sorted(maps.Keys(s.Weights)) {
			j, ok := at[name]
			if !ok {
				return nil, fmt.Errorf("steps[%d].weights: %q is no destination of this rule; write one of %q", i, name, slices.Sorted(maps.Keys(at)))
			}
			sides[j].weight = float64(s.Weights[name])
		}
		next := newStage(s.At, sides)
		switch {
		case s.At.IsZero():
			return nil, fmt.Errorf("steps[%d].at: is missing; write a time such as 2026-11-21T10:00:00Z", i)
		case !s.At.After(out[i].at):
			return nil, fmt.Errorf("steps[%d].at: %s is not after the step before; write the steps in order of time", i, s.At.Format(time.RFC3339))
		case next.total == 0:
			return nil, fmt.Errorf("steps[%d].weights: every weight is 0; give one of them a weight", i)
		}
		out = append(out, next)
	}
	return out, nil
}

func newStage(at time.Time, sides []side) stage {
	s := stage{at: at, sides: sides}
	for i := range sides {
		s.total += uint64(sides[i].weight)
	}
	return s
}

// stage finds the weights that hold now. Without steps it does not look at the clock.
func (r *rule) stage(x *filter.Exchange) *stage {
	i := len(r.stages) - 1
	for i > 0 && x.Now.Before(r.stages[i].at) {
		i--
	}
	return &r.stages[i]
}

// draw chooses by weight and chance.
func (s *stage) draw(rand filter.Rand) int {
	if len(s.sides) == 1 {
		return 0
	}
	n, _ := bits.Mul64(rand.Uint64(), s.total) // uniform in [0, total)
	for i := range s.sides {
		w := uint64(s.sides[i].weight)
		if n < w {
			return i
		}
		n -= w
	}
	return len(s.sides) - 1
}
