package ratelimit

import (
	"context"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DefaultDomain is the domain that proxies ask in.
const DefaultDomain = "mizzen"

// service implements envoy.service.ratelimit.v3.RateLimitService.
type service struct {
	rlsv3.UnimplementedRateLimitServiceServer
	domain  string
	store   Store
	table   atomic.Pointer[Table]
	refused *refusals
	metrics *metrics
	now     func() time.Time
}

// question is one descriptor on its way to an answer.
type question struct {
	limit  *Limit // nil: nothing limits it
	ask    Ask
	answer Answer
	asked  bool
	over   bool
	// unknown: it names a limit that this server has not heard of.
	unknown bool
}

// maxHits bounds what one request may count for.
const maxHits = math.MaxInt32

// ShouldRateLimit implements Envoy's protocol.
func (s *service) ShouldRateLimit(ctx context.Context, req *rlsv3.RateLimitRequest) (*rlsv3.RateLimitResponse, error) {
	start := s.now()
	if len(req.GetDescriptors()) == 0 || req.GetDomain() == "" {
		return nil, status.Error(codes.InvalidArgument, "a request needs a domain and descriptors")
	}
	t := s.table.Load()
	if t == nil {
		return nil, status.Error(codes.Unavailable, "no limits have been read yet")
	}
	qs := make([]question, len(req.GetDescriptors()))
	if req.GetDomain() == s.domain {
		t.resolve(req, qs)
	}
	if !s.refuseCached(qs, start) {
		s.take(ctx, qs)
	}
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	out := s.respond(qs)
	s.metrics.requests.WithLabelValues(out.GetOverallCode().String()).Inc()
	s.metrics.seconds.Observe(s.now().Sub(start).Seconds())
	return out, nil
}

func (t *Table) resolve(req *rlsv3.RateLimitRequest, qs []question) {
	for i, d := range req.GetDescriptors() {
		q := &qs[i]
		l, key := t.find(d)
		if l == nil {
			q.unknown = named(d)
			continue
		}
		q.limit = l
		q.ask = Ask{Key: key, Rule: l.Rule, Each: hitsOf(req, d), Times: 1, Back: d.GetIsNegativeHits()}
	}
}

// hitsOf is what a descriptor counts for: its own addend, else the request's, else 1.
func hitsOf(req *rlsv3.RateLimitRequest, d *commonv3.RateLimitDescriptor) uint32 {
	if own := d.GetHitsAddend(); own != nil {
		return uint32(min(own.GetValue(), maxHits))
	}
	return uint32(min(max(req.GetHitsAddend(), 1), maxHits))
}

// refuseCached refuses if a key is known to have nothing left: nothing is asked or counted then.
func (s *service) refuseCached(qs []question, now time.Time) (refused bool) {
	for i := range qs {
		q := &qs[i]
		if q.limit == nil || q.ask.Back {
			continue
		}
		if left := s.refused.left(q.ask.Key, q.ask.Rule, now); left > 0 {
			q.asked, q.over, q.answer = true, true, Answer{Retry: left}
			s.metrics.cached.Inc()
			refused = refused || !q.limit.Shadow
		}
	}
	return refused
}

// take asks the store for all that is not decided yet. If an enforced limit refuses, what the others counted is given
// back: a client that is over one limit takes nothing from those that it shares with others.
func (s *service) take(ctx context.Context, qs []question) {
	asks, at := make([]Ask, 0, len(qs)), make([]int, 0, len(qs))
	for i := range qs {
		if qs[i].limit != nil && !qs[i].asked {
			asks, at = append(asks, qs[i].ask), append(at, i)
		}
	}
	if len(asks) == 0 {
		return
	}
	answers := s.store.Take(ctx, asks)
	now, refused := s.now(), false
	for i, a := range answers {
		q := &qs[at[i]]
		q.answer, q.asked = a, true
		q.over = a.Err != nil || a.Granted == 0
		switch {
		case a.Err != nil:
			q.answer.Retry = time.Second
		case q.ask.Back:
			s.refused.drop(q.ask.Key)
		case q.over && a.Remaining == 0:
			wait := a.Retry
			if q.ask.Each > 1 { // as long as not even one hit fits
				wait = min(wait, q.ask.Rule.Per/time.Duration(q.ask.Rule.Requests))
			}
			s.refused.add(q.ask.Key, q.ask.Rule, now.Add(wait), now)
		}
		refused = refused || q.over && !q.limit.Shadow
	}
	if refused {
		s.giveBack(ctx, qs)
	}
}

func (s *service) giveBack(ctx context.Context, qs []question) {
	var asks []Ask
	for i := range qs {
		q := &qs[i]
		if q.asked && !q.over && q.answer.Granted > 0 && q.ask.Each > 0 && !q.ask.Back {
			a := q.ask
			a.Back = true
			asks = append(asks, a)
		}
	}
	if len(asks) > 0 {
		s.store.Take(ctx, asks)
	}
}

// respond tells what became of the questions. overall_code decides; a shadow limit that is over says so in its status
// only, so that Envoy's own filter lets the request pass.
func (s *service) respond(qs []question) *rlsv3.RateLimitResponse {
	out := &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OK}
	var wait time.Duration
	for i := range qs {
		q := &qs[i]
		out.Statuses = append(out.Statuses, statusOf(q))
		if q.over && !q.limit.Shadow {
			out.OverallCode = rlsv3.RateLimitResponse_OVER_LIMIT
			wait = max(wait, q.answer.Retry)
		}
	}
	refused := out.OverallCode == rlsv3.RateLimitResponse_OVER_LIMIT
	for i := range qs {
		if r := resultOf(&qs[i], refused); r != "" {
			s.metrics.decisions.WithLabelValues(qs[i].limit.Name, r).Inc()
		}
	}
	if refused {
		out.ResponseHeadersToAdd = []*corev3.HeaderValue{{Key: "retry-after",
			Value: strconv.FormatInt(max(1, int64(math.Ceil(wait.Seconds()))), 10)}}
	}
	return out
}

// resultOf is what a question counts as in the metrics. Of a refused request only the refusals count.
func resultOf(q *question, refused bool) string {
	switch {
	case !q.asked || q.ask.Back:
		return ""
	case q.over && !q.limit.Shadow:
		return "limited"
	case refused:
		return ""
	case q.over:
		return "shadow_limited"
	}
	return "ok"
}

func statusOf(q *question) *rlsv3.RateLimitResponse_DescriptorStatus {
	st := &rlsv3.RateLimitResponse_DescriptorStatus{Code: rlsv3.RateLimitResponse_OK}
	if q.unknown { // the proxy may have heard of it before: it decides
		st.Code = rlsv3.RateLimitResponse_UNKNOWN
	}
	if !q.asked {
		return st
	}
	st.LimitRemaining = q.answer.Remaining
	st.DurationUntilReset = durationpb.New(q.answer.Reset)
	if q.over {
		st.Code = rlsv3.RateLimitResponse_OVER_LIMIT
		st.LimitRemaining, st.DurationUntilReset = 0, durationpb.New(q.answer.Retry)
	}
	if !q.limit.Shadow { // Envoy's filter tells clients the numbers of those that have a current_limit
		st.CurrentLimit = currentLimit(q.limit)
	}
	return st
}

// currentLimit says the rate in Envoy's units, as far as they go.
func currentLimit(l *Limit) *rlsv3.RateLimitResponse_RateLimit {
	out := &rlsv3.RateLimitResponse_RateLimit{Name: l.Name, RequestsPerUnit: l.Rule.Requests}
	switch per := l.Rule.Per; {
	case per == time.Second:
		out.Unit = rlsv3.RateLimitResponse_RateLimit_SECOND
	case per == time.Minute:
		out.Unit = rlsv3.RateLimitResponse_RateLimit_MINUTE
	case per == time.Hour:
		out.Unit = rlsv3.RateLimitResponse_RateLimit_HOUR
	case per == 24*time.Hour:
		out.Unit = rlsv3.RateLimitResponse_RateLimit_DAY
	case per%time.Second == 0 && per/time.Second <= math.MaxUint32:
		out.Unit = rlsv3.RateLimitResponse_RateLimit_SECOND
		out.UnitMultiplier = wrapperspb.UInt32(uint32(per / time.Second))
	}
	return out
}

// setTable puts t in force.
func (s *service) setTable(t *Table) {
	s.table.Store(t)
	s.metrics.limits.Set(float64(len(t.byName)))
}
