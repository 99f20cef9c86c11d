package ratelimit

import (
	"strconv"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

func BenchmarkRequest(b *testing.B) {
	minute := filter.Duration(time.Minute)
	user := []match.Key{{Header: "x-user"}}
	for _, c := range []struct {
		name   string
		limits []Limit
	}{
		{"gcra without key", []Limit{{Name: "a", Requests: 4e9, Per: minute}}},
		{"gcra by header", []Limit{{Name: "a", Key: user, Requests: 4e9, Per: minute}}},
		{"token bucket by header", []Limit{{Name: "a", Key: user, Requests: 4e9, Per: minute, Algorithm: AlgorithmTokenBucket}}},
		{"sliding window by header", []Limit{{Name: "a", Key: user, Requests: 4e9, Per: minute, Algorithm: AlgorithmSlidingWindow}}},
		{"concurrency", []Limit{{Name: "a", Concurrency: 10}}},
		{"two limits", []Limit{{Name: "a", Key: user, Requests: 4e9, Per: minute}, {Name: "b", Requests: 4e9, Per: minute}}},
		{"refused", []Limit{{Name: "a", Requests: 1, Per: filter.Duration(24 * time.Hour)}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			policy, err := New(Config{Limits: c.limits}, filtertest.Env())
			if err != nil {
				b.Fatal(err)
			}
			p := policy.(*Policy)
			x := filtertest.NewExchange("x-user: alice", "user-agent: bench", "accept: */*")
			x.Host = filtertest.QuietHost{}
			now := time.Now()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				x.Now = now.Add(time.Duration(i))
				p.Request(x)
				p.End(x)
			}
		})
	}
}

func BenchmarkNewKeysAtTheCap(b *testing.B) {
	policy, err := New(Config{MaxKeys: 8192, Limits: []Limit{{
		Name: "a", Key: []match.Key{{Header: "x-user"}}, Requests: 1, Per: filter.Duration(time.Hour)}}}, filtertest.Env())
	if err != nil {
		b.Fatal(err)
	}
	x := filtertest.NewExchange()
	x.Host = filtertest.QuietHost{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.Request.Reset([]filter.Header{{Name: "x-user", Value: strconv.Itoa(i)}})
		policy.Request(x)
	}
}
