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
