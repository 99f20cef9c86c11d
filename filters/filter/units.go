package filter

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Percent is a share in parts per million of the whole: 100 % is 1,000,000. JSON: a number of percent, 0 to 100,
// at most four decimals.
type Percent uint32

// Whole is 100 %.
const Whole Percent = 1_000_000

// PercentOf makes a Percent of a number of percent, rounding to the nearest millionth.
func PercentOf(v float64) Percent { return Percent(math.Round(v * 10_000)) }

// Hit draws once: true with probability p.
func (p Percent) Hit(r Rand) bool {
	if p == 0 {
		return false
	}
	return p >= Whole || r.Uint64()%uint64(Whole) < uint64(p)
}

// MarshalJSON writes percent.
func (p Percent) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(p)/10_000, 'f', -1, 64), nil
}

// UnmarshalJSON reads percent.
func (p *Percent) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > 100 {
		return fmt.Errorf("percentage %s: want a number from 0 to 100", b)
	}
	if math.Abs(v*10_000-math.Round(v*10_000)) > 1e-6 {
		return fmt.Errorf("percentage %s: write four decimals at most", b)
	}
	*p = PercentOf(v)
	return nil
}

// Duration is a time.Duration that JSON writes as Go does: "1.5s".
type Duration time.Duration

// MarshalJSON writes "1.5s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads "1.5s"; negative durations are an error.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s: want a string like \"1.5s\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: want a positive one like \"1.5s\"", s)
	}
	*d = Duration(v)
	return nil
}
