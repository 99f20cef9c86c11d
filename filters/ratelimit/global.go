package ratelimit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// What holds while the rate-limit service cannot be asked.
const (
	OnErrorLocal = "local"
	OnErrorAllow = "allow"
	OnErrorDeny  = "deny"

	// DefaultDomain is Global.Domain when it is empty.
	DefaultDomain = "mizzen"
	// DefaultTimeout is Global.Timeout when it is 0.
	DefaultTimeout = 20 * time.Millisecond
)

var metricService = &filter.Metric{
	Name: "ratelimit_service_total",
	Help: "What requests under a global limit came to: ok and limited were asked for, cached were refused without asking, " +
		"unknown name a limit that the service does not know and were decided by this proxy's share, " +
		"error and skipped (not asked after several errors) were decided as onError says.",
	Labels: []string{"result"},
}

// After maxFailures in a row the service is not asked for a pause; then one request tries.
const (
	maxFailures = 3
	pause       = time.Second
)

// global asks for the limits that hold over all proxies together.
type global struct {
	domain  string
	onError string
	timeout time.Duration
	maxKeys int
	limits  []*limit // in the configuration's order
	// away is every limit that decides while the service is away: local ones, and this proxy's share of the global
	// ones whose onError is local. Sorted by store id.
	away    []*limit
	cluster string
	headers []filter.Header
	service *rlService
}

// rlService is what is known of a service, shared by all configurations that name it.
type rlService struct {
	failed  atomic.Int32 // in a row
	retryAt atomic.Int64 // Unix nanoseconds; while failed >= maxFailures
	refused *refusals
}

// asked is what an exchange keeps while the service is asked.
type asked struct {
	limits []*limit
	nums   []*numbers
	costs  []int64
	shadow []bool
	keys   [][]byte // as refusals knows them
	seed   uint64
}

func newGlobal(c *Global, maxKeys int, env *filter.Env) *global {
	g := &global{cluster: c.Cluster, domain: c.Domain, onError: c.OnError, timeout: time.Duration(c.Timeout), maxKeys: maxKeys}
	if g.domain == "" {
		g.domain = DefaultDomain
	}
	if g.onError == "" {
		g.onError = OnErrorLocal
	}
	if g.timeout == 0 {
		g.timeout = DefaultTimeout
	}
	g.headers = []filter.Header{
		{Name: ":method", Value: "POST"}, {Name: ":path", Value: rlsPath}, {Name: ":scheme", Value: "http"},
		{Name: "host", Value: c.Cluster}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
		{Name: "grpc-timeout", Value: strconv.FormatInt(max(1, g.timeout.Milliseconds()), 10) + "m"},
	}
	g.service = env.Shared("ratelimit/global/"+c.Cluster+"/"+g.domain, func() any {
		return &rlService{refused: newRefusals()}
	}).(*rlService)
	return g
}

// shared is part s of l: what this proxy allows of it on its own.
func shared(l Limit, s float64) Limit {
	if s == 0 || s == 1 {
		return l
	}
	if l.Concurrency > 0 {
		l.Concurrency = max(1, uint32(float64(l.Concurrency)*s+grain))
		return l
	}
	l.Requests, l.Per, l.Burst = shareOf(s, l.Requests, l.Per, l.Burst)
	l.Overrides = slices.Clone(l.Overrides)
	for i := range l.Overrides {
		o := &l.Overrides[i]
		o.Requests, o.Per, o.Burst = shareOf(s, o.Requests, o.Per, o.Burst)
	}
	return l
}

// grain forgives the rounding of 1/n times n.
const grain = 1e-6

// shareOf divides a rate; less than one request per period is one in a longer period.
func shareOf(s float64, requests uint32, per filter.Duration, burst uint32) (uint32, filter.Duration, uint32) {
	if burst > 0 {
		burst = max(1, uint32(float64(burst)*s+grain))
	}
	if r := float64(requests)*s + grain; r >= 1 {
		return uint32(r), per, burst
	}
	longer := float64(per) / (float64(requests) * s) * float64(max(1, burst))
	return 1, filter.Duration(min(longer, float64(maxSpan))) / filter.Duration(max(1, burst)), burst
}

// request decides what can be decided without asking, and else asks. false: no global limit bears on the request.
func (g *global) request(p *Policy, x *filter.Exchange) (filter.Verdict, bool) {
	a, refusal := g.match(x, p.seed(x))
	switch {
	case len(a.limits) == 0:
		return filter.Verdict{}, false
	case refusal != nil:
		x.Host.Count(metricService, 1, "cached")
		count(x, []hit{*refusal}, refusal)
		return p.refusal(x, refusal), true
	}
	if v, refused := p.look(x, a.seed); refused {
		return v, true // by a local limit: the service need not count it
	}
	if !g.service.usable(x.Now) {
		x.Host.Count(metricService, 1, "skipped")
		x.Host.Annotate("ratelimit_service", "away, not asked")
		return g.unreachable(p, x, a), true
	}
	x.SetState(a)
	return filter.Verdict{Call: &filter.Call{Cluster: g.cluster, Headers: g.headers, Body: g.body(x, a), Timeout: g.timeout}}, true
}

// match finds the limits that bear on the request, and among them the one known to refuse for longest.
func (g *global) match(x *filter.Exchange, seed uint64) (a *asked, refusal *hit) {
	a = &asked{seed: seed}
	for _, l := range g.limits {
		if l.any != nil && !l.any.Matches(x.Request) {
			continue
		}
		on, enforced := l.asked(seed)
		if !on {
			continue
		}
		key := append(append(make([]byte, 0, typicalKeys), l.name...), 0)
		from := len(key)
		key = l.appendKey(key, x)
		num := l.num
		if l.exact != nil || l.wild != nil {
			num = l.numbersFor(x, key[from:])
		}
		shadow := num.shadow || !enforced
		a.limits, a.nums, a.keys, a.shadow = append(a.limits, l), append(a.nums, num), append(a.keys, key), append(a.shadow, shadow)
		a.costs = append(a.costs, l.cost.of(x))
		if shadow {
			continue
		}
		if left := g.service.refused.left(key, x.Now.UnixNano()); left > 0 && (refusal == nil || left > refusal.out.reset) {
			refusal = &hit{limit: l, num: num, out: outcome{reset: left}}
		}
	}
	return a, refusal
}

// body is the message of the call.
func (g *global) body(x *filter.Exchange, a *asked) []byte {
	ds := make([]rlsDescriptor, len(a.limits))
	for i, l := range a.limits {
		ds[i].limit, ds[i].hits = l.name, uint64(a.costs[i])
		for _, k := range l.key {
			v, _ := k.Value(x)
			ds[i].parts = append(ds[i].parts, wireValue(v))
		}
		if n := a.nums[i]; n != l.num && n.burst == n.requests && rlsUnit(time.Duration(n.per)) != 0 {
			ds[i].requests, ds[i].unit = uint32(n.requests), rlsUnit(time.Duration(n.per))
		}
	}
	return rlsRequest(g.domain, ds)
}

// answered goes on with the service's answer.
func (g *global) answered(p *Policy, x *filter.Exchange) filter.Verdict {
	a, ok := x.State().(*asked)
	if !ok {
		return filter.Verdict{}
	}
	x.SetState(nil)
	answer, err := read(x.Answer)
	if err == nil && len(answer.statuses) != len(a.limits) {
		err = fmt.Errorf("%d statuses for %d descriptors", len(answer.statuses), len(a.limits))
	}
	if err != nil {
		g.service.fail(x.Now)
		x.Host.Count(metricService, 1, "error")
		x.Host.Annotate("ratelimit_service", err.Error())
		return g.unreachable(p, x, a)
	}
	g.service.failed.Store(0)
	hits, unknown, refusal := g.hits(x, a, answer)
	if refusal != nil {
		x.Host.Count(metricService, 1, "limited")
		count(x, hits, refusal)
		return p.refusal(x, refusal)
	}
	if len(unknown) > 0 {
		x.Host.Count(metricService, 1, "unknown")
		x.Host.Annotate("ratelimit_service", "limit "+unknown[0].name+" is unknown")
		unknown = append(unknown, p.limits...)
		slices.SortFunc(unknown, func(a, b *limit) int { return strings.Compare(a.store.id, b.store.id) })
		return p.local(x, unknown, a.seed, hits)
	}
	x.Host.Count(metricService, 1, "ok")
	return p.local(x, p.limits, a.seed, hits)
}

// hits makes of the answer what a local decision would be. Each limit decides by its own status, and not overall_code
// for all, because a shadow limit that is over refuses nobody. A limit whose status is UNKNOWN the service has not heard
// of yet: this proxy's share of it decides, whatever onError says, for the service is not away.
func (g *global) hits(x *filter.Exchange, a *asked, answer *rlsAnswer) (hits []hit, unknown []*limit, refusal *hit) {
	hits = make([]hit, 0, len(a.limits))
	for i, l := range a.limits {
		st := &answer.statuses[i]
		if st.code == codeUnknown {
			unknown = append(unknown, l.away)
			continue
		}
		hits = append(hits, hit{limit: l, num: a.nums[i], shadow: a.shadow[i],
			out: outcome{ok: st.code != codeOver, remaining: int64(st.remaining), reset: int64(min(st.reset(), maxSpan))}})
		h := &hits[len(hits)-1]
		if h.out.ok || h.shadow {
			continue
		}
		if wait := st.reset(); wait > 0 && (l.cost.same() || a.costs[i] == 1) { // a dearer request's refusal says nothing of a cheaper one
			g.service.refused.add(a.keys[i], x.Now.UnixNano(), wait, g.maxKeys)
		}
		if refusal == nil || h.out.reset > refusal.out.reset {
			refusal = h
		}
	}
	return hits, unknown, refusal
}

// read takes the message out of an answer.
func read(a *filter.Answer) (*rlsAnswer, error) {
	if a == nil {
		return nil, fmt.Errorf("no answer")
	}
	if a.Err != "" {
		return nil, fmt.Errorf("%s", a.Err)
	}
	for _, h := range a.Headers {
		switch {
		case h.Name == ":status" && h.Value != "200": // Envoy's own answer too: 503 no connection, 504 timeout
			return nil, fmt.Errorf("status %s", h.Value)
		case h.Name == "grpc-status" && h.Value != "0":
			return nil, fmt.Errorf("grpc-status %s", h.Value)
		}
	}
	out, err := parseRLS(a.Body)
	if err != nil {
		return nil, err
	}
	if out.code != codeOK && out.code != codeOver {
		return nil, fmt.Errorf("code %d is neither OK nor OVER_LIMIT", out.code)
	}
	return out, nil
}

// unreachable decides without the service.
func (g *global) unreachable(p *Policy, x *filter.Exchange, a *asked) filter.Verdict {
	for i, l := range a.limits {
		if l.onError == OnErrorDeny && !a.shadow[i] {
			x.Done()
			return filter.Verdict{Reply: denied(x)}
		}
	}
	return p.local(x, g.away, a.seed, nil)
}

// unavailable is gRPC's status code 14.
const unavailable = 14

func denied(x *filter.Exchange) *filter.Reply {
	status, body := unavailable, "rate-limit service is away\n"
	if strings.HasPrefix(x.Request.Value("content-type"), "application/grpc") {
		body = strings.TrimSuffix(body, "\n")
	}
	return &filter.Reply{Status: 503, GRPCStatus: &status, Body: body, Details: "mizzen_rate_limit_service_error", Flag: "RLSE"}
}

// usable says whether to ask; after a pause the first who asks may try.
func (s *rlService) usable(now time.Time) bool {
	if s.failed.Load() < maxFailures {
		return true
	}
	at, t := s.retryAt.Load(), now.UnixNano()
	if t < at && at-t <= int64(pause) {
		return false
	}
	return s.retryAt.CompareAndSwap(at, t+int64(pause))
}

func (s *rlService) fail(now time.Time) {
	if s.failed.Add(1) >= maxFailures {
		s.retryAt.Store(now.Add(pause).UnixNano())
	}
}
