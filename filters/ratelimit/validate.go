package ratelimit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// The values of the configuration's words.
const (
	AlgorithmGCRA          = "gcra"
	AlgorithmTokenBucket   = "tokenBucket"
	AlgorithmSlidingWindow = "slidingWindow"

	ScopeLocal  = "local"
	ScopeGlobal = "global"

	ActionEnforce = "enforce"
	ActionShadow  = "shadow"

	HeadersDraft03 = "draft03"
	HeadersOff     = "off"

	// DefaultMaxKeys is Config.MaxKeys when it is 0.
	DefaultMaxKeys = 65536
	// DefaultStatus is Limit.Status when it is 0.
	DefaultStatus = 429
)

// ParseConfig reads a Config from JSON and validates it; an unknown field is an error.
func ParseConfig(raw []byte) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("parsing ratelimit configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("parsing ratelimit configuration: more than one JSON value")
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate says what is wrong with c, nil if nothing.
func (c *Config) Validate() error {
	if c.MaxKeys < 0 {
		return fmt.Errorf("ratelimit: maxKeys %d: want at least 1 (or 0 for %d)", c.MaxKeys, DefaultMaxKeys)
	}
	if !oneOf(c.Headers, "", HeadersDraft03, HeadersOff) {
		return fmt.Errorf("ratelimit: headers %q: want draft03 or off", c.Headers)
	}
	seen := make(map[string]bool, len(c.Limits))
	for i := range c.Limits {
		l := &c.Limits[i]
		if l.Name == "" {
			return fmt.Errorf("ratelimit: limits[%d]: name is missing", i)
		}
		if seen[l.Name] {
			return fmt.Errorf("ratelimit: limit %q: named twice", l.Name)
		}
		seen[l.Name] = true
		if err := l.validate(); err != nil {
			return fmt.Errorf("ratelimit: limit %q: %w", l.Name, err)
		}
	}
	if c.Global == nil {
		return nil
	}
	for i := range c.Limits {
		if err := c.Limits[i].validateGlobal(); err != nil {
			return fmt.Errorf("ratelimit: limit %q: %w", c.Limits[i].Name, err)
		}
	}
	return c.Global.validate()
}

func (l *Limit) validate() error {
	if !oneOf(l.Algorithm, "", AlgorithmGCRA, AlgorithmTokenBucket, AlgorithmSlidingWindow) {
		return fmt.Errorf("algorithm %q: want gcra, tokenBucket or slidingWindow", l.Algorithm)
	}
	if !oneOf(l.Scope, "", ScopeLocal, ScopeGlobal) {
		return fmt.Errorf("scope %q: want local or global", l.Scope)
	}
	if !oneOf(l.Action, "", ActionEnforce, ActionShadow) {
		return fmt.Errorf("action %q: want enforce or shadow", l.Action)
	}
	if l.Status != 0 && (l.Status < 400 || l.Status > 599) {
		return fmt.Errorf("status %d: want 400 to 599", l.Status)
	}
	if err := l.validateCare(); err != nil {
		return err
	}
	if err := l.validateWhere(); err != nil {
		return err
	}
	if err := l.validateCost(); err != nil {
		return err
	}
	if l.Concurrency > 0 {
		return l.validateConcurrency()
	}
	if err := validateRate(l.Algorithm, l.Requests, l.Per, l.Burst); err != nil {
		return err
	}
	for i, o := range l.Overrides {
		if len(o.Key) != len(l.Key) || len(o.Key) == 0 {
			return fmt.Errorf("overrides[%d]: %d key parts for a key of %d", i, len(o.Key), len(l.Key))
		}
		if err := validateRate(l.Algorithm, o.Requests, o.Per, o.Burst); err != nil {
			return fmt.Errorf("overrides[%d]: %w", i, err)
		}
		if !oneOf(o.Action, "", ActionEnforce, ActionShadow) {
			return fmt.Errorf("overrides[%d]: action %q: want enforce or shadow", i, o.Action)
		}
	}
	return nil
}

// validateCare checks what bears on the service's absence, on clients and on memory.
func (l *Limit) validateCare() error {
	switch {
	case !oneOf(l.OnError, "", OnErrorLocal, OnErrorAllow, OnErrorDeny):
		return fmt.Errorf("onError %q: want local, allow or deny", l.OnError)
	case l.OnError != "" && l.Scope != ScopeGlobal:
		return errors.New("onError: a limit of scope local asks no service")
	case l.LocalShare < 0 || l.LocalShare > 1 || math.IsNaN(l.LocalShare):
		return fmt.Errorf("localShare %v: want more than 0, at most 1", l.LocalShare)
	case !oneOf(l.Headers, "", HeadersDraft03, HeadersOff):
		return fmt.Errorf("headers %q: want draft03 or off", l.Headers)
	case l.MaxKeys < 0:
		return fmt.Errorf("maxKeys %d: want at least 1 (or 0 for the configuration's)", l.MaxKeys)
	}
	return nil
}

// validateWhere checks matches and key by compiling them.
func (l *Limit) validateWhere() error {
	if _, err := match.CompileAny(l.Match); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	for i, k := range l.Key {
		if _, err := match.CompileKey(k); err != nil {
			return fmt.Errorf("key[%d]: %w", i, err)
		}
	}
	return nil
}

func (l *Limit) validateConcurrency() error {
	switch {
	case l.Requests != 0 || l.Per != 0 || l.Burst != 0:
		return errors.New("concurrency: requests, per and burst must be absent")
	case l.Algorithm != "":
		return errors.New("concurrency: algorithm must be absent")
	case len(l.Overrides) > 0:
		return errors.New("concurrency: overrides must be absent")
	}
	return nil
}

// maxSpan bounds how long a full bucket takes to refill, so that no sum of times overflows.
const maxSpan = 50 * 365 * 24 * time.Hour

func validateRate(algorithm string, requests uint32, per filter.Duration, burst uint32) error {
	if requests == 0 {
		return errors.New("requests: want at least 1")
	}
	if per < filter.Duration(time.Millisecond) {
		return fmt.Errorf("per %s: want at least 1ms", time.Duration(per))
	}
	if algorithm == AlgorithmSlidingWindow && burst != 0 && burst != requests {
		return errors.New("burst: a slidingWindow has none")
	}
	span := float64(per) * math.Max(1, float64(burst)/float64(requests))
	if span > float64(maxSpan) {
		return errors.New("per and burst: a full bucket takes more than 50 years to refill")
	}
	return nil
}

func (g *Global) validate() error {
	switch {
	case g.Cluster == "":
		return errors.New("ratelimit: global: cluster is missing")
	case !oneOf(g.OnError, "", OnErrorLocal, OnErrorAllow, OnErrorDeny):
		return fmt.Errorf("ratelimit: global: onError %q: want local, allow or deny", g.OnError)
	case g.LocalShare < 0 || g.LocalShare > 1 || math.IsNaN(g.LocalShare):
		return fmt.Errorf("ratelimit: global: localShare %v: want more than 0, at most 1", g.LocalShare)
	case g.Timeout != 0 && g.Timeout < filter.Duration(time.Millisecond):
		return fmt.Errorf("ratelimit: global: timeout %s: want at least 1ms", time.Duration(g.Timeout))
	}
	return nil
}

// validateGlobal checks what a limit that the service counts cannot have.
func (l *Limit) validateGlobal() error {
	if l.Scope != ScopeGlobal {
		return nil
	}
	if l.Concurrency > 0 {
		return errors.New("concurrency: requests in progress are counted by each proxy; write scope: local")
	}
	return nil
}

func oneOf(s string, words ...string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}
