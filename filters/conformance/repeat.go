package conformance

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Sigmas is how many standard deviations a share may be off. One true share in two million is.
const Sigmas = 5

// repeat plays a step many times.
func (p *player) repeat(at string, s *Step, r *Request, sent time.Time) {
	outcomes := make([]*Outcome, s.Times)
	var failed atomic.Pointer[error]
	var next atomic.Int64
	var wg sync.WaitGroup
	_, parallel := p.ex.Parallel()
	for range parallel {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1) - 1)
				if i >= len(outcomes) {
					return
				}
				one := *r
				one.Nth = i
				o, err := p.session.Do(&one)
				if err != nil {
					failed.Store(&err)
					return
				}
				outcomes[i] = o
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		p.fail("%s: %v", at, *err)
		return
	}
	last := slices.MaxFunc(outcomes, func(a, b *Outcome) int { return a.Answered.Compare(b.Answered) })
	if !p.inTime(at, s, sent, last.Answered) {
		return
	}
	before := len(p.wrong)
	for _, o := range outcomes {
		if p.compare(at, &s.Expect, o); len(p.wrong) > before {
			return // one is enough to read
		}
	}
	p.shares(at, s, outcomes)
}

func (p *player) shares(at string, s *Step, outcomes []*Outcome) {
	n := float64(len(outcomes))
	for _, name := range slices.Sorted(maps.Keys(s.Expect.Shares)) {
		if isFlag(name) && !p.ex.Sees(SeesFlags) {
			continue
		}
		want, hits := s.Expect.Shares[name], 0.0
		for _, o := range outcomes {
			if o.hasAll(strings.Fields(name)) {
				hits++
			}
		}
		if off, sigma := math.Abs(hits-want*n), math.Sqrt(n*want*(1-want)); off > Sigmas*sigma {
			p.fail("%s: %v of %v requests are %q, want %v (%.1f sigma off)", at, hits, n, name, want*n, off/max(sigma, 1e-9))
		}
	}
	if !s.Expect.Same {
		return
	}
	for _, o := range outcomes {
		if o.Cluster != outcomes[0].Cluster {
			p.fail("%s: one request went to %q, another to %q", at, outcomes[0].Cluster, o.Cluster)
			return
		}
	}
}

// isFlag tells whether a feature of a share is an access-log flag: they alone have capitals.
func isFlag(feature string) bool { return strings.ToLower(feature) != feature }

func (o *Outcome) hasAll(features []string) bool {
	own := o.features()
	for _, f := range features {
		if !slices.Contains(own, f) {
			return false
		}
	}
	return true
}
