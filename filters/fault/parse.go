package fault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// ParseConfig reads and validates a configuration. Unknown fields are errors.
func ParseConfig(raw []byte) (Config, error) {
	var c Config
	if err := filter.ParseJSON(raw, &c); err != nil {
		return Config{}, fmt.Errorf("fault: %w", err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate tells what is wrong with c: which field, and what to write.
func (c *Config) Validate() error {
	_, err := build(*c)
	return err
}

// New makes the policy. The number of faults in progress is kept in env, for all fault policies of the process.
func New(c Config, env *filter.Env) (filter.Policy, error) {
	p, err := build(c)
	if err != nil {
		return nil, err
	}
	if c.resets() && !env.Resets {
		return nil, errors.New("fault: abort.reset: this host cannot end a stream without an answer; only the dynamic module can")
	}
	p.active = env.Shared("fault/active", func() any { return new(atomic.Int64) }).(*atomic.Int64)
	return p, nil
}

// resets tells whether a rule does what only some hosts can.
func (c *Config) resets() bool {
	return slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Abort != nil && r.Abort.Reset })
}

func build(c Config) (*policy, error) {
	p := &policy{headers: c.AllowHeaders, scrub: c.AllowHeaders || c.Throttles(), max: int64(c.MaxActive)}
	for i, r := range c.Rules {
		built, err := newRule(r, strconv.Itoa(i), c.AllowHeaders)
		if err != nil {
			return nil, fmt.Errorf("fault: rules[%d].%w", i, err)
		}
		p.rules = append(p.rules, built)
	}
	return p, nil
}

// newRule compiles r; index is its name if it has none.
func newRule(r Rule, index string, headers bool) (rule, error) {
	out := rule{name: r.Name, from: r.From, until: r.Until}
	if out.name == "" {
		out.name = index
	}
	out.labels = []string{out.name}
	if !printable(r.Name) {
		return out, fmt.Errorf("name: %q holds a control character; write it without", r.Name)
	}
	switch {
	case r.Delay == nil && r.Abort == nil && r.ResponseRate == nil:
		return out, errors.New("delay: is missing, and abort and responseRate too; write at least one of them")
	case !r.Until.IsZero() && !r.Until.After(r.From):
		return out, fmt.Errorf("until: %s is not after from", r.Until.Format(time.RFC3339))
	}
	var err error
	if out.match, err = match.CompileAny(r.Match); err != nil {
		return out, err
	}
	if r.Key != nil {
		if out.key, err = match.CompileKey(*r.Key); err != nil {
			return out, err
		}
	}
	if out.delay, err = newDelay(r.Delay, out.name, headers); err != nil {
		return out, fmt.Errorf("delay.%w", err)
	}
	if out.abort, err = newAbort(r.Abort, out.name, headers); err != nil {
		return out, fmt.Errorf("abort.%w", err)
	}
	if out.rate, err = newRate(r.ResponseRate, out.name, headers); err != nil {
		return out, fmt.Errorf("responseRate.%w", err)
	}
	out.metadata, err = newMetadata(r.Metadata)
	return out, err
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// newMetadata sorts the annotations of a rule.
func newMetadata(m map[string]string) (out []annotation, err error) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k == "" || m[k] == "" || !printable(k) || !printable(m[k]) {
			return nil, fmt.Errorf("metadata: %q: %q is empty, or holds a control character; write both without", k, m[k])
		}
		out = append(out, annotation{annotationKey + "." + k, m[k]})
	}
	return out, nil
}

func newRate(r *ResponseRate, rule string, headers bool) (*rate, error) {
	switch {
	case r == nil:
		return nil, nil
	case r.Percentage > filter.Whole:
		return nil, errors.New("percentage: is above 100")
	case r.KiBPerS == 0 && !headers:
		return nil, errors.New("kibPerSecond: is missing; write how many KiB a second, at least 1")
	case r.KiBPerS > MaxRate:
		return nil, fmt.Errorf("kibPerSecond: %d is no limit; write at most %d", r.KiBPerS, MaxRate)
	}
	return &rate{percentage: r.Percentage, salt: match.Salt("rate", rule), kib: r.KiBPerS}, nil
}

func newDelay(d *Delay, rule string, headers bool) (*delay, error) {
	if d == nil {
		return nil, nil
	}
	out := &delay{percentage: d.Percentage, salt: match.Salt("delay", rule)}
	switch {
	case d.Percentage > filter.Whole:
		return nil, errors.New("percentage: is above 100")
	case d.Fixed < 0:
		return nil, errors.New("fixed: is negative")
	case d.Fixed > 0 && d.Distribution != nil:
		return nil, errors.New("distribution: is set beside fixed; write exactly one of them")
	case d.Fixed > 0:
		wait := time.Duration(d.Fixed)
		out.sample = func(filter.Rand) time.Duration { return wait }
	case d.Distribution != nil:
		s, err := newSampler(*d.Distribution)
		if err != nil {
			return nil, fmt.Errorf("distribution.%w", err)
		}
		out.sample = s
	case !headers:
		return nil, errors.New("fixed: is missing, and distribution too; write exactly one of them")
	}
	return out, nil
}

func newAbort(a *Abort, rule string, headers bool) (*abort, error) {
	if a == nil {
		return nil, nil
	}
	out := &abort{percentage: a.Percentage, salt: match.Salt("abort", rule), after: a.AfterResponse}
	switch {
	case a.Percentage > filter.Whole:
		return nil, errors.New("percentage: is above 100")
	case a.Reset && (a.HTTPStatus != 0 || a.GRPCStatus != nil):
		return nil, errors.New("reset: is set beside a status; write exactly one of httpStatus, grpcStatus and reset")
	case a.Reset:
		out.reply = &filter.Reply{Reset: true, Details: abortDetails, Flag: "FI"}
	case a.HTTPStatus != 0 && a.GRPCStatus != nil:
		return nil, errors.New("grpcStatus: is set beside httpStatus; write exactly one of them")
	case a.GRPCStatus != nil:
		if !validGRPC(*a.GRPCStatus) {
			return nil, fmt.Errorf("grpcStatus: %d is none; write 0 to 16", *a.GRPCStatus)
		}
		code := *a.GRPCStatus
		out.reply = newReply(0, &code)
	case a.HTTPStatus != 0:
		if !validHTTP(a.HTTPStatus) {
			return nil, fmt.Errorf("httpStatus: %d cannot be sent; write 200 to 599", a.HTTPStatus)
		}
		out.reply = newReply(a.HTTPStatus, nil)
	case !headers:
		return nil, errors.New("httpStatus: is missing, and grpcStatus and reset too; write exactly one of them")
	}
	return out, nil
}
