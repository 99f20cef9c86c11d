package fault

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// sampler draws one delay.
type sampler func(r filter.Rand) time.Duration

// longest bounds a drawn delay where Max does not: the tail of a Pareto distribution has no end.
const longest = time.Hour

// uniform draws from the open interval (0,1).
func uniform(r filter.Rand) float64 { return (float64(r.Uint64()>>12) + 0.5) * 0x1p-52 }

// bounded makes a sampler of a draw in seconds.
func bounded(limit filter.Duration, draw func(r filter.Rand) float64) sampler {
	top := longest.Seconds()
	if limit > 0 {
		top = time.Duration(limit).Seconds()
	}
	return func(r filter.Rand) time.Duration {
		return time.Duration(max(0, min(draw(r), top)) * float64(time.Second))
	}
}

func seconds(d filter.Duration) float64 { return time.Duration(d).Seconds() }

// newSampler checks d and compiles it.
func newSampler(d Distribution) (sampler, error) {
	if err := checkFields(d); err != nil {
		return nil, err
	}
	low, high, mean, dev := seconds(d.Min), seconds(d.Max), seconds(d.Mean), seconds(d.StdDev)
	switch d.Kind {
	case "uniform":
		if d.Max <= 0 || d.Min > d.Max {
			return nil, fmt.Errorf("max: must be above 0 and not below min")
		}
		return bounded(d.Max, func(r filter.Rand) float64 { return low + uniform(r)*(high-low) }), nil
	case "normal":
		if d.Mean <= 0 {
			return nil, fmt.Errorf("mean: is needed for a normal distribution")
		}
		return bounded(d.Max, func(r filter.Rand) float64 {
			// Box and Muller; the second value of the pair is not kept, because a policy has no state.
			return mean + dev*math.Sqrt(-2*math.Log(uniform(r)))*math.Cos(2*math.Pi*uniform(r))
		}), nil
	case "exponential":
		if d.Mean <= 0 {
			return nil, fmt.Errorf("mean: is needed for an exponential distribution")
		}
		return bounded(d.Max, func(r filter.Rand) float64 { return -mean * math.Log(uniform(r)) }), nil
	case "pareto":
		if d.Min <= 0 || !(d.Shape > 0) || math.IsInf(d.Shape, 0) {
			return nil, fmt.Errorf("min and shape: are needed for a pareto distribution, above 0")
		}
		if d.Max > 0 && d.Max < d.Min {
			return nil, fmt.Errorf("max: must not be below min")
		}
		shape := d.Shape
		return bounded(d.Max, func(r filter.Rand) float64 { return low * math.Pow(uniform(r), -1/shape) }), nil
	default:
		return newHistogram(d)
	}
}

// checkFields refuses fields that the kind does not use: they would be without effect.
func checkFields(d Distribution) error {
	uses := map[string]string{"uniform": "min", "normal": "mean stdDev", "exponential": "mean", "pareto": "min shape",
		"histogram": "percentiles"}
	allowed, ok := uses[d.Kind]
	if !ok {
		return fmt.Errorf("kind: %q is unknown; write uniform, normal, exponential, pareto or histogram", d.Kind)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"min", d.Min != 0}, {"mean", d.Mean != 0}, {"stdDev", d.StdDev != 0}, {"shape", d.Shape != 0},
		{"percentiles", len(d.Percentiles) > 0}} {
		if f.set && !strings.Contains(allowed, f.name) {
			return fmt.Errorf("%s: has no meaning for kind %s, which takes %s and max", f.name, d.Kind, allowed)
		}
	}
	for _, f := range []struct {
		name  string
		value filter.Duration
	}{{"min", d.Min}, {"max", d.Max}, {"mean", d.Mean}, {"stdDev", d.StdDev}} {
		if f.value < 0 {
			return fmt.Errorf("%s: is negative", f.name)
		}
	}
	return nil
}

// newHistogram interpolates between the percentiles; below the first it starts at 0, and above the last it goes up to
// max at 100 %, or stays if there is no max.
func newHistogram(d Distribution) (sampler, error) {
	if len(d.Percentiles) == 0 {
		return nil, fmt.Errorf("percentiles: is empty; write a list such as [{\"p\":50,\"value\":\"10ms\"},{\"p\":99,\"value\":\"1s\"}]")
	}
	type point struct{ p, v float64 }
	points := []point{{0, 0}}
	for i, q := range d.Percentiles {
		last := points[len(points)-1]
		v := seconds(q.Value)
		if !(q.P >= 0 && q.P <= 100) || i > 0 && q.P/100 <= last.p || v < last.v {
			return nil, fmt.Errorf("percentiles[%d]: p must rise from 0 to 100, and values must not fall", i)
		}
		if q.P == 0 {
			points = points[:0]
		}
		points = append(points, point{q.P / 100, v})
	}
	if last := points[len(points)-1]; last.p < 1 {
		top := last.v
		if d.Max > 0 {
			top = max(top, seconds(d.Max))
		}
		points = append(points, point{1, top})
	}
	return bounded(d.Max, func(r filter.Rand) float64 {
		u := uniform(r)
		i := 1
		for i < len(points)-1 && points[i].p < u {
			i++
		}
		a, b := points[i-1], points[i]
		return a.v + (b.v-a.v)*(u-a.p)/(b.p-a.p)
	}), nil
}
