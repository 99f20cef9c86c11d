// Package ratelimit limits how many requests pass: so many per time for each key, with bursts, or so many at once.
// It covers what Envoy's local_ratelimit filter does, and adds keys of any kind, GCRA, sliding windows, concurrency
// limits and a shadow mode. See README.md.
package ratelimit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	pool    sync.Pool
}

type limit struct {
	name   string
	any    *match.Any
	key    []*match.CompiledKey
	num    *numbers
	exact  map[string]*numbers // overrides without "*", by encoded key
	wild   []override
	shadow bool
	status int
	body   string // of a refusal
	index  int    // place in the configuration
	store  *store
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
	p := &Policy{headers: c.Headers != HeadersOff}
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

// add compiles the limit with index i. A global one is compiled twice: for the service, and as this proxy's share.
func (p *Policy) add(c *Config, i, maxKeys int, env *filter.Env) error {
	conf := c.Limits[i]
	global := p.global != nil && conf.Scope == ScopeGlobal
	if global {
		l, err := compile(&conf, ScopeGlobal)
		if err != nil {
			return err
		}
		l.index = i
		p.global.limits = append(p.global.limits, l)
		conf = c.Global.share(conf)
	}
	scope := ScopeLocal
	if conf.Scope == ScopeGlobal {
		scope = "global-local"
	}
	l, err := compile(&conf, scope)
	if err != nil {
		return err
	}
	l.index = i
	id, count := identity(&conf, l.num), shardCount(maxKeys)
	l.store = env.Shared(id, func() any { return newStore(id, count) }).(*store)
	l.store.setCap(maxKeys)
	if global {
		p.global.away = append(p.global.away, l)
		return nil
	}
	p.limits = append(p.limits, l)
	return nil
}

// compile makes a limit; scope is told in metrics.
func compile(c *Limit, scope string) (*limit, error) {
	l := &limit{name: c.Name, shadow: c.Action == ActionShadow, status: c.Status,
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
		l.num = &numbers{kind: k, burst: int64(c.Concurrency)}
		return l, nil
	}
	l.num = rate(k, c.Requests, c.Burst, time.Duration(c.Per))
	for _, o := range c.Overrides {
		n := rate(k, o.Requests, o.Burst, time.Duration(o.Per))
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
