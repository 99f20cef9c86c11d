package filter

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestPercentJSON(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Percent
		out  string
	}{
		{"0", 0, "0"}, {"100", Whole, "100"}, {"0.0001", 1, "0.0001"}, {"12.5", 125_000, "12.5"},
		{"33.3333", 333_333, "33.3333"}, {"0.07", 700, "0.07"}, {"1e1", 100_000, "10"},
	} {
		var p Percent
		if err := json.Unmarshal([]byte(c.in), &p); err != nil || p != c.want {
			t.Errorf("%s: %d, %v; want %d", c.in, p, err, c.want)
		}
		if b, err := json.Marshal(p); err != nil || string(b) != c.out {
			t.Errorf("%s: marshalled %s, %v", c.in, b, err)
		}
	}
	for _, bad := range []string{"-1", "100.1", `"50"`, "null", "0.00001", "true"} {
		var p Percent
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("%s is accepted as %d", bad, p)
		}
	}
}

func TestEveryPercentSurvivesJSON(t *testing.T) {
	for p := Percent(0); p <= Whole; p += 7 {
		b, _ := json.Marshal(p)
		var back Percent
		if err := json.Unmarshal(b, &back); err != nil || back != p {
			t.Fatalf("%d became %s, then %d (%v)", p, b, back, err)
		}
	}
}

// The share of hits is within 4 standard deviations of the percentage.
func TestPercentHit(t *testing.T) {
	const n = 1_000_000
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range []Percent{0, 100, 10_000, 333_333, 999_900, Whole} {
		hits := 0
		for range n {
			if p.Hit(r) {
				hits++
			}
		}
		want := float64(p) / float64(Whole)
		if sigma := math.Sqrt(n * want * (1 - want)); math.Abs(float64(hits)-n*want) > 4*sigma {
			t.Errorf("%d of %d at %v: more than 4 sigma (%.0f) off", hits, n, want, sigma)
		}
	}
}

func TestDurationJSON(t *testing.T) {
	var d Duration
	if err := json.Unmarshal([]byte(`"1.5s"`), &d); err != nil || time.Duration(d) != 1500*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
	if b, _ := json.Marshal(d); string(b) != `"1.5s"` {
		t.Errorf("marshalled %s", b)
	}
	for _, bad := range []string{`"-1s"`, `"1"`, `1`, `null`, `""`} {
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestParseJSON(t *testing.T) {
	var v struct{ A int }
	if err := ParseJSON([]byte(` {"A": 1} `), &v); err != nil || v.A != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	for _, bad := range []string{``, `null`, `[]`, `{"B":1}`, `{"A":1}{}`, `{"A":1} x`, `{"A":"x"}`, `{`} {
		if err := ParseJSON([]byte(bad), &v); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
