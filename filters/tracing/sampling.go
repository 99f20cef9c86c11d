package tracing

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// sampler decides for the requests whose caller did not.
type sampler struct {
	threshold    uint64 // of the 56 low bits of a trace id: those at or above it are sampled
	ignoreParent bool
	budget       *budget // nil: no cap
	step, burst  int64   // of the budget, ns
}

const randomBits = 56

// thresholdOf is what OpenTelemetry's consistent samplers compare the 56 low bits of a trace id with, so that every
// hop with the same percentage, of any vendor, decides alike.
func thresholdOf(p filter.Percent) uint64 {
	hi, lo := bits.Mul64(uint64(filter.Whole-min(p, filter.Whole)), 1<<randomBits)
	q, _ := bits.Div64(hi, lo, uint64(filter.Whole))
	return q
}

// budget is a GCRA without keys, shared by all workers of the process.
type budget struct {
	tat atomic.Int64 // Unix time in ns when it is whole again
}

func (s *sampler) setBudget(perSecond float64, env *filter.Env) {
	if perSecond == 0 {
		return
	}
	s.budget = env.Shared("tracing/budget", func() any { return new(budget) }).(*budget)
	s.step = int64(math.Ceil(1e9 / perSecond))
	s.burst = s.step * int64(math.Max(1, math.Ceil(perSecond)))
}

// decide says whether the trace is sampled. Strongest first: the caller's debug flag, the header that forces, the
// caller's decision, the percentage.
func (s *sampler) decide(sp *span, forced bool, now time.Time) decision {
	parent := sp.decision
	if s.ignoreParent {
		parent = undecided
	}
	switch {
	case parent == debug:
		return debug
	case forced:
		return sample
	case parent != undecided:
		return parent
	case sp.lo&(1<<randomBits-1) < s.threshold:
		return drop
	case s.budget != nil && !s.budget.take(now.UnixNano(), s.step, s.burst):
		return drop
	}
	return sample
}

// take uses up one trace of the budget. A clock that was set back leaves tat further ahead than it can ever be: the
// budget then starts anew.
func (b *budget) take(now, step, burst int64) bool {
	for {
		tat := b.tat.Load()
		from := max(tat, now)
		if from-now > burst+int64(time.Second) {
			from = now
		}
		if from+step-now > burst {
			return false
		}
		if b.tat.CompareAndSwap(tat, from+step) {
			return true
		}
	}
}
