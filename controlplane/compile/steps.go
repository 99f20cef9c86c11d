package compile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// StepsAnnotation lets a side of a VirtualService's weighted routes grow by the clock: see ParseSteps.
const StepsAnnotation = "mizzen.dev/steps"

// stepsExample is what diagnostics tell users to write.
const stepsExample = `write for example "v2: 2026-11-21T10:00:00Z 5%, +10m 25%, +10m 50%, +10m 100%"`

// Growth is what StepsAnnotation says: the share of one side, from a time on.
type Growth struct {
	Side  string // the subset, or the host of a destination without one
	Steps []GrowthStep
}

// GrowthStep begins at At. PPM is the side's share in parts per million.
type GrowthStep struct {
	At  time.Time
	PPM uint32
}

// ParseSteps reads "v2: 2026-11-21T10:00:00Z 5%, +10m 25%, +1h 100%": a side, and steps of a time and a share, separated by
// commas or lines. A time is RFC 3339, or "+" and a duration after the step before. Shares go down to 0.0001 %.
func ParseSteps(v string) (*Growth, error) {
	side, rest, ok := strings.Cut(v, ": ")
	if side = strings.TrimSpace(side); !ok || side == "" || strings.ContainsAny(side, " ,") {
		return nil, fmt.Errorf("%q does not begin with the side that grows and a colon", v)
	}
	out := &Growth{Side: side}
	for _, text := range strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == '\n' }) {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		s, err := growthStep(text, out.Steps)
		if err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, s)
	}
	if len(out.Steps) == 0 {
		return nil, fmt.Errorf("%q has no steps", v)
	}
	return out, nil
}

func growthStep(text string, before []GrowthStep) (out GrowthStep, err error) {
	when, share, ok := strings.Cut(text, " ")
	if !ok {
		return out, fmt.Errorf("step %q is not a time and a share", text)
	}
	if out.PPM, err = sharePPM(strings.TrimSpace(share)); err != nil {
		return out, fmt.Errorf("step %q: %w", text, err)
	}
	if pause, relative := strings.CutPrefix(when, "+"); relative {
		d, err := time.ParseDuration(pause)
		switch {
		case err != nil || d <= 0:
			return out, fmt.Errorf("step %q: %q is no duration such as 10m or 1h30m", text, pause)
		case len(before) == 0:
			return out, fmt.Errorf("step %q: the first step needs a time, not a duration", text)
		}
		out.At = before[len(before)-1].At.Add(d)
		return out, nil
	}
	if out.At, err = time.Parse(time.RFC3339, when); err != nil {
		return out, fmt.Errorf("step %q: %q is no time such as 2026-11-21T10:00:00Z", text, when)
	}
	if out.At = out.At.UTC(); len(before) > 0 && !out.At.After(before[len(before)-1].At) {
		return out, fmt.Errorf("step %q is not after the step before", text)
	}
	return out, nil
}

// sharePPM reads "5%" or "0.01%".
func sharePPM(v string) (uint32, error) {
	number, ok := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch {
	case !ok || err != nil || !(f >= 0 && f <= 100):
		return 0, fmt.Errorf("%q is no share from 0%% to 100%%", v)
	case math.Abs(f*1e4-math.Round(f*1e4)) > 1e-6:
		return 0, fmt.Errorf("%q is finer than 0.0001%%", v)
	}
	return uint32(math.Round(f * 1e4)), nil
}

// steps lowers StepsAnnotation into the rule's weighted routes that have the side; an Error if none has.
func (c *compiler) steps(r *rule) {
	m := &r.object.Meta
	v, ok := m.Annotations[StepsAnnotation]
	if !ok {
		return
	}
	fail := func(message, fix string) {
		c.report(m, annotationPath(StepsAnnotation), istio.Error, codeAnnotation, message+": the weights stay as written", fix)
	}
	g, err := ParseSteps(v)
	if err != nil {
		fail(err.Error(), stepsExample)
		return
	}
	var sides []string
	found := false
	for _, route := range r.Routes {
		if len(route.Destinations) < 2 {
			continue
		}
		at := -1
		for i, d := range route.Destinations {
			sides = append(sides, cmp.Or(d.Subset, shortHost(d.Hostname)))
			if !isSide(d, g.Side) {
				continue
			}
			if at >= 0 {
				fail(fmt.Sprintf("two destinations of %s are called %q", originAt(route.Origin), g.Side), "write a host name, or name subsets apart")
				return
			}
			at = i
		}
		if at < 0 {
			continue
		}
		found = true
		if route.Steps, err = weightSteps(route.Destinations, at, g.Steps); err != nil {
			fail(err.Error(), "give the other destinations weights: they share what the side leaves")
			return
		}
	}
	if !found {
		slices.Sort(sides)
		fix := "add a route with several destinations"
		if sides = slices.Compact(sides); len(sides) > 0 {
			fix = "write one of " + strings.Join(sides, ", ")
		}
		fail(fmt.Sprintf("no weighted route has a destination %q", g.Side), fix)
	}
}

// isSide tells whether a destination goes by this name: its subset, or without one its host, short or whole.
func isSide(d *mesh.Destination, name string) bool {
	if d.Subset != "" {
		return d.Subset == name
	}
	return d.Hostname == name || shortHost(d.Hostname) == name
}

func shortHost(host string) string {
	short, _, _ := strings.Cut(host, ".")
	return short
}

// weightSteps turns shares into weights: what the side at index grow leaves, the others divide as their own weights say.
func weightSteps(ds []*mesh.Destination, grow int, steps []GrowthStep) ([]*mesh.Step, error) {
	rest := uint64(0)
	for i, d := range ds {
		if i != grow {
			rest += uint64(d.Weight)
		}
	}
	if rest == 0 {
		return nil, fmt.Errorf("the other destinations have no weight")
	}
	var out []*mesh.Step
	for _, s := range steps {
		weights := make([]uint64, len(ds))
		for i, d := range ds {
			weights[i] = uint64(d.Weight) * (1_000_000 - uint64(s.PPM))
		}
		weights[grow] = rest * uint64(s.PPM)
		step := &mesh.Step{At: s.At}
		divisor := uint64(0)
		for _, w := range weights {
			divisor = gcd(divisor, w)
		}
		for _, w := range weights {
			if w /= divisor; w > math.MaxUint32 {
				return nil, fmt.Errorf("the weights are too large to be divided further")
			}
			step.Weights = append(step.Weights, uint32(w))
		}
		out = append(out, step)
	}
	return out, nil
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
