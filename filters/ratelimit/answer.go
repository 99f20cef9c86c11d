package ratelimit

import (
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Headers of draft-ietf-httpapi-ratelimit-headers-03, in the x- form that Envoy writes.
const (
	headerLimit     = "x-ratelimit-limit"
	headerRemaining = "x-ratelimit-remaining"
	headerReset     = "x-ratelimit-reset"
)

// resourceExhausted is gRPC's status code 8.
const resourceExhausted = 8

// refuse makes the reply of a refusal, in one piece of memory: a flood must be cheap to turn away.
func (p *Policy) refuse(x *filter.Exchange, h *hit) *filter.Reply {
	wait := x.Decimal(seconds(h.out.reset))
	r := &struct {
		reply   filter.Reply
		headers [4]filter.Header
		grpc    int
	}{
		headers: [4]filter.Header{
			{Name: "retry-after", Value: wait},
			{Name: headerLimit, Value: h.num.policy},
			{Name: headerRemaining, Value: "0"},
			{Name: headerReset, Value: wait},
		},
		grpc: resourceExhausted,
	}
	r.reply = filter.Reply{
		Status:     h.limit.status,
		GRPCStatus: &r.grpc,
		Headers:    r.headers[:],
		Body:       h.limit.body,
		Details:    "mizzen_rate_limited",
		Flag:       "RL",
	}
	if !p.headers || h.limit.quiet || h.num.kind == kindConcurrency {
		r.reply.Headers = r.headers[:1:1]
	}
	if strings.HasPrefix(x.Request.Value("content-type"), "application/grpc") {
		r.reply.Body = strings.TrimSuffix(r.reply.Body, "\n") // it becomes the header grpc-message
	}
	return &r.reply
}

// tell has the response tell the client the numbers of the tightest limit that the request passed.
func tell(x *filter.Exchange, h *hit) {
	x.SetOnResponse(headerLimit, h.num.policy)
	x.SetOnResponse(headerRemaining, x.Decimal(h.out.remaining))
	x.SetOnResponse(headerReset, x.Decimal(seconds(h.out.reset)))
}

// Response implements filter.Policy: all is said at the request.
func (p *Policy) Response(*filter.Exchange) filter.Verdict { return filter.Verdict{} }

// End implements filter.Ender: a request in progress gives its place back, however it ended.
func (p *Policy) End(x *filter.Exchange) {
	k, ok := x.State().(*kept)
	if !ok {
		return
	}
	for _, held := range k.places {
		held.release()
	}
	clear(k.places)
	*k = kept{places: k.places[:0]}
	x.SetState(nil)
	p.pool.Put(k)
}

// release may find its entry evicted: then nobody counts by it any more.
func (h place) release() {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	h.entry.a--
}

// seconds rounds ns up to whole seconds, at least 1.
func seconds(ns int64) int64 { return max(1, ceilDiv(ns, int64(time.Second))) }
