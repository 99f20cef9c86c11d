package fault_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// Quantiles of 40,000 draws against the distribution's own. The standard error of a quantile q is
// sqrt(q(1-q)/n)/density; instead of densities the test holds the share of draws below the true quantile to 4 sigma.
func TestDistributions(t *testing.T) {
	const n = 40_000
	for _, c := range []struct {
		name, config string
		quantiles    map[float64]time.Duration
		lowest, most time.Duration
	}{
		{"uniform", `"kind":"uniform","min":"100ms","max":"300ms"`,
			map[float64]time.Duration{0.25: 150 * time.Millisecond, 0.5: 200 * time.Millisecond, 0.9: 280 * time.Millisecond}, 100 * time.Millisecond, 300 * time.Millisecond},
		{"normal", `"kind":"normal","mean":"1s","stdDev":"100ms"`,
			map[float64]time.Duration{0.158655: 900 * time.Millisecond, 0.5: time.Second, 0.977250: 1200 * time.Millisecond}, 0, time.Hour},
		{"exponential", `"kind":"exponential","mean":"1s"`,
			map[float64]time.Duration{0.5: 693147180, 0.9: 2302585093}, 0, time.Hour},
		{"exponential with max", `"kind":"exponential","mean":"1s","max":"2s"`,
			map[float64]time.Duration{0.5: 693147180}, 0, 2 * time.Second},
		{"pareto", `"kind":"pareto","min":"10ms","shape":2`,
			map[float64]time.Duration{0.5: 14142135, 0.99: 100 * time.Millisecond}, 10*time.Millisecond - 1, time.Hour},
		{"histogram", `"kind":"histogram","percentiles":[{"p":0,"value":"5ms"},{"p":50,"value":"10ms"},{"p":90,"value":"50ms"},{"p":99,"value":"1s"}],"max":"3s"`,
			map[float64]time.Duration{0.25: 7500 * time.Microsecond, 0.5: 10 * time.Millisecond, 0.7: 30 * time.Millisecond, 0.9: 50 * time.Millisecond, 0.99: time.Second, 0.995: 2 * time.Second}, 5 * time.Millisecond, 3 * time.Second},
		{"histogram from 0, flat above", `"kind":"histogram","percentiles":[{"p":50,"value":"10ms"}]`,
			map[float64]time.Duration{0.25: 5 * time.Millisecond}, 0, 10 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(t, filtertest.Env(), `{"rules":[{"delay":{"percentage":100,"distribution":{`+c.config+`}}}]}`)
			x := filtertest.NewExchange()
			draws := make([]time.Duration, n)
			for i := range draws {
				draws[i] = p.Request(x).Wait
			}
			if lo, hi := slices.Min(draws), slices.Max(draws); lo < c.lowest || hi > c.most {
				t.Errorf("from %v to %v", lo, hi)
			}
			for q, v := range c.quantiles {
				below := 0
				for _, d := range draws {
					if d <= v {
						below++
					}
				}
				if sigma := math.Sqrt(n * q * (1 - q)); math.Abs(float64(below)-n*q) > 4*sigma {
					t.Errorf("%d of %d draws are at most %v, want %.0f, sigma %.0f", below, n, v, n*q, sigma)
				}
			}
		})
	}
}

// Mean, variance and 19 quantiles of 40,000 draws against those of the distribution's own quantile function, which is
// integrated here. The standard error of the mean is s/sqrt(n), of the variance sqrt((m4-s^4)/n), and of the share below
// a quantile q sqrt(q(1-q)/n); 5 of these are allowed, over 21 values of 8 distributions.
func TestDistributionMoments(t *testing.T) {
	const n, sigmas = 40_000, 5
	line := func(points ...[2]float64) func(u float64) float64 {
		return func(u float64) float64 {
			i := 1
			for i < len(points)-1 && points[i][0] < u {
				i++
			}
			a, b := points[i-1], points[i]
			return a[1] + (b[1]-a[1])*(u-a[0])/(b[0]-a[0])
		}
	}
	normal := func(mean, dev float64) func(u float64) float64 {
		return func(u float64) float64 { return mean + dev*math.Sqrt2*math.Erfinv(2*u-1) }
	}
	for _, c := range []struct {
		name, config string
		quantile     func(u float64) float64 // in seconds
	}{
		{"uniform", `"kind":"uniform","min":"100ms","max":"300ms"`, func(u float64) float64 { return 0.1 + 0.2*u }},
		{"normal", `"kind":"normal","mean":"1s","stdDev":"100ms"`, normal(1, 0.1)},
		{"normal, below 0 is 0", `"kind":"normal","mean":"100ms","stdDev":"100ms"`, func(u float64) float64 { return max(0, normal(0.1, 0.1)(u)) }},
		{"exponential", `"kind":"exponential","mean":"200ms"`, func(u float64) float64 { return -0.2 * math.Log1p(-u) }},
		{"exponential with max", `"kind":"exponential","mean":"1s","max":"2s"`, func(u float64) float64 { return min(2, -math.Log1p(-u)) }},
		{"pareto", `"kind":"pareto","min":"10ms","shape":9`, func(u float64) float64 { return 0.01 * math.Pow(1-u, -1.0/9) }},
		{"pareto with max", `"kind":"pareto","min":"10ms","shape":1.2,"max":"1s"`, func(u float64) float64 { return min(1, 0.01*math.Pow(1-u, -1/1.2)) }},
		{"histogram", `"kind":"histogram","percentiles":[{"p":0,"value":"5ms"},{"p":50,"value":"10ms"},{"p":90,"value":"50ms"},{"p":99,"value":"1s"}],"max":"3s"`,
			line([2]float64{0, 0.005}, [2]float64{0.5, 0.01}, [2]float64{0.9, 0.05}, [2]float64{0.99, 1}, [2]float64{1, 3})},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(t, filtertest.Env(), `{"rules":[{"delay":{"percentage":100,"distribution":{`+c.config+`}}}]}`)
			x := filtertest.NewExchange()
			draws := make([]float64, n)
			for i := range draws {
				draws[i] = p.Request(x).Wait.Seconds()
			}
			mean, variance, fourth := moments(20_000, func(i int) float64 { return c.quantile((float64(i) + 0.5) / 20_000) })
			gotMean, gotVariance, _ := moments(n, func(i int) float64 { return draws[i] })
			if sigma := math.Sqrt(variance / n); math.Abs(gotMean-mean) > sigmas*sigma {
				t.Errorf("mean %v, want %v, sigma %v", gotMean, mean, sigma)
			}
			if sigma := math.Sqrt((fourth - variance*variance) / n); math.Abs(gotVariance-variance) > sigmas*sigma {
				t.Errorf("variance %v, want %v, sigma %v", gotVariance, variance, sigma)
			}
			slices.Sort(draws)
			for q := 0.05; q < 0.96; q += 0.05 {
				v := c.quantile(q)
				if v <= 0 || v >= c.quantile(1-1e-9) {
					continue // many draws have the very value of an end
				}
				below, _ := slices.BinarySearch(draws, v)
				if sigma := math.Sqrt(n * q * (1 - q)); math.Abs(float64(below)-n*q) > sigmas*sigma {
					t.Errorf("%d of %d draws are below the quantile %.2f (%v s), want %.0f, sigma %.0f", below, n, q, v, n*q, sigma)
				}
			}
		})
	}
}

// moments of n values: mean, variance and fourth central moment.
func moments(n int, value func(i int) float64) (mean, variance, fourth float64) {
	for i := range n {
		mean += value(i) / float64(n)
	}
	for i := range n {
		d := (value(i) - mean) * (value(i) - mean)
		variance += d / float64(n)
		fourth += d * d / float64(n)
	}
	return mean, variance, fourth
}
