// Package ratelimit limits how many requests pass: so many per time for each key, with bursts, or so many at once.
// It covers what Envoy's local_ratelimit filter does, and adds keys of any kind, GCRA, sliding windows, concurrency
// limits and a shadow mode. See README.md.
package ratelimit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Kind describes the policy to the registry.
func Kind() filter.Kind {
	return filter.Kind{
		Name:   "ratelimit",
		Reason: "refuses before a delay is paid for, and after the route is final",
		New: func(raw []byte, env *filter.Env) (filter.Policy, error) {
			c, err := ParseConfig(raw)
			if err != nil {
				return nil, err
			}
			return New(c, env)
		},
		Metrics: []*filter.Metric{metricRequests, metricKeys, metricEvictions, metricService},
	}
}

// Policy is the compiled configuration. Immutable but for the pool; the stores guard their own state.
type Policy struct {
	limits  []*limit // sorted by store id: the order in which locks are taken
	global  *global  // nil: no service is asked
	headers bool
	draws   bool // some limit is enabled or enforced for a part of the requests only
	pool    sync.Pool

	conf Config // what it was made of, for Inherit
	env  *filter.Env
	heir atomic.Pointer[Policy]
}

type limit struct {
	name  string
	any   *match.Any
	key   []*match.CompiledKey
	num   *numbers
	cost  cost
	exact map[string]*numbers // overrides without "*", by encoded key
	wild  []override
	// enabled and enforced are filter.Whole if nothing is left to chance.
	enabled, enforced filter.Percent
	status            int
	body              string // of a refusal
	quiet             bool   // clients are not told the numbers
	index             int    // place in the configuration
	store             *store
	onError           string // of a global limit
	away              *limit // of a global limit: this proxy's share
	// The labels of metricRequests, made once: a variadic call would make them each time.
	ok, limited, shadowed []string
}

type override struct {
	parts []string
	num   *numbers
}

// New makes the policy. Limits that an earlier configuration already had keep their state.
func New(c Config, env *filter.Env) (filter.Policy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	maxKeys := c.MaxKeys
	if maxKeys == 0 {
		maxKeys = DefaultMaxKeys
	}
	p := &Policy{headers: c.Headers != HeadersOff, conf: c, env: env}
	p.pool.New = func() any { return new(kept) }
	if c.Global != nil {
		p.global = newGlobal(c.Global, maxKeys, env)
	}
	for i := range c.Limits {
		if err := p.add(&c, i, maxKeys, env); err != nil {
			return nil, fmt.Errorf("ratelimit: limit %q: %w", c.Limits[i].Name, err)
		}
	}
	byID := func(a, b *limit) int { return strings.Compare(a.store.id, b.store.id) }
	slices.SortFunc(p.limits, byID)
	if p.global != nil {
		p.global.away = append(p.global.away, p.limits...)
		slices.SortFunc(p.global.away, byID)
	}
	return p, nil
}

// Inherit implements filter.Heir: a route's global limits are asked for at the service that its listener names.
func (p *Policy) Inherit(from filter.Policy) filter.Policy {
	base, ok := from.(*Policy)
	if !ok || p.global != nil || base.global == nil || !p.hasGlobal() {
		return p
	}
	if h := p.heir.Load(); h != nil && *h.conf.Global == *base.conf.Global {
		return h
	}
	c := p.conf
	c.Global = base.conf.Global
	h, err := New(c, p.env)
	if err != nil { // a limit that cannot be global: it stays with this proxy
		return p
	}
	p.heir.Store(h.(*Policy))
	return h
}

func (p *Policy) hasGlobal() bool {
	for i := range p.conf.Limits {
		if p.conf.Limits[i].Scope == ScopeGlobal {
			return true
		}
	}
	return false
}

// add compiles the limit with index i. A global one is compiled twice: for the service, and as this proxy's share.
func (p *Policy) add(c *Config, i, maxKeys int, env *filter.Env) error {
	conf := c.Limits[i]
	var asks *limit
	share := conf.LocalShare
	if p.global != nil && conf.Scope == ScopeGlobal {
		var err error
		if asks, err = compile(&conf, ScopeGlobal); err != nil {
			return err
		}
		asks.index, asks.onError = i, cmp.Or(conf.OnError, p.global.onError)
		share = cmp.Or(share, c.Global.LocalShare)
	}
	scope := ScopeLocal
	if conf.Scope == ScopeGlobal {
		scope = "global-local"
	}
	conf = shared(conf, share)
	l, err := compile(&conf, scope)
	if err != nil {
		return err
	}
	l.index = i
	p.draws = p.draws || l.enabled < filter.Whole || l.enforced < filter.Whole
	maxKeys = cmp.Or(conf.MaxKeys, maxKeys)
	id, count := identity(&conf, l.num), shardCount(maxKeys)
	l.store = env.Shared(id, func() any { return newStore(id, count) }).(*store)
	l.store.setCap(maxKeys)
	if asks == nil {
		p.limits = append(p.limits, l)
		return nil
	}
	asks.away = l
	p.global.limits = append(p.global.limits, asks)
	if asks.onError == OnErrorLocal {
		p.global.away = append(p.global.away, l)
	}
	return nil
}

// compile makes a limit; scope is told in metrics.
func compile(c *Limit, scope string) (*limit, error) {
	l := &limit{name: c.Name, status: c.Status, quiet: c.Headers == HeadersOff, enabled: part(c.Enabled), enforced: part(c.Enforced),
		cost: costOf(c.HitsAddend),
		body: "rate limit " + c.Name + " reached\n"}
	l.ok = []string{c.Name, "ok", scope}
	l.limited = []string{c.Name, "limited", scope}
	l.shadowed = []string{c.Name, "shadow_limited", scope}
	if l.status == 0 {
		l.status = DefaultStatus
	}
	var err error
	if len(c.Match) > 0 {
		if l.any, err = match.CompileAny(c.Match); err != nil {
			return nil, err
		}
	}
	for _, k := range c.Key {
		compiled, err := match.CompileKey(k)
		if err != nil {
			return nil, err
		}
		l.key = append(l.key, compiled)
	}
	k := kindOf(c)
	if k == kindConcurrency {
		l.num = &numbers{kind: k, burst: int64(c.Concurrency), shadow: c.Action == ActionShadow}
		return l, nil
	}
	l.num = rate(k, c.Requests, c.Burst, time.Duration(c.Per))
	l.num.shadow = c.Action == ActionShadow
	for _, o := range c.Overrides {
		n := rate(k, o.Requests, o.Burst, time.Duration(o.Per))
		n.shadow = cmp.Or(o.Action, c.Action) == ActionShadow
		if slices.Contains(o.Key, "*") {
			l.wild = append(l.wild, override{o.Key, n})
			continue
		}
		if l.exact == nil {
			l.exact = map[string]*numbers{}
		}
		if k := string(encode(nil, o.Key)); l.exact[k] == nil {
			l.exact[k] = n
		}
	}
	return l, nil
}

func kindOf(c *Limit) kind {
	switch {
	case c.Concurrency > 0:
		return kindConcurrency
	case c.Algorithm == AlgorithmTokenBucket:
		return kindTokenBucket
	case c.Algorithm == AlgorithmSlidingWindow:
		return kindSlidingWindow
	}
	return kindGCRA
}

// part is a percentage that may be left out.
func part(p *filter.Percent) filter.Percent {
	if p == nil {
		return filter.Whole
	}
	return *p
}

// identity names the state of a limit in the process: two configurations with the same identity share it. Numbers
// are not part of it: a key keeps what it has used when they change (numbers.adopt).
func identity(c *Limit, n *numbers) string {
	key, err := json.Marshal(c.Key)
	if err != nil { // strings and booleans always marshal
		key = nil
	}
	return fmt.Sprintf("ratelimit/%s/%d/%s", c.Name, n.kind, key)
}

// numbersFor picks the numbers of a key: an exact override, else the first wildcard that fits, else the limit's own.
func (l *limit) numbersFor(x *filter.Exchange, key []byte) *numbers {
	if n := l.exact[string(key)]; n != nil {
		return n
	}
	for i := range l.wild {
		if l.wild[i].fits(l, x) {
			return l.wild[i].num
		}
	}
	return l.num
}

func (o *override) fits(l *limit, x *filter.Exchange) bool {
	for i, want := range o.parts {
		if want == "*" {
			continue
		}
		if v, _ := l.key[i].Value(x); v != want {
			return false
		}
	}
	return true
}
