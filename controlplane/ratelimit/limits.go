package ratelimit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Limit is one limit of scope global of a RateLimit.
type Limit struct {
	Name   string // <namespace>/<name of the object>/<name of the limit, or its place in the list>
	Rule   Rule
	Shadow bool // counted and told, never refused
	// Overrides are for some keys. One without "*" that fits wins, else the first with one that does.
	Overrides []Override
	// Source tells of each part of the key whether it is the source address.
	Source []bool
}

// Override has other numbers for keys whose parts are Key; "*" is any part.
type Override struct {
	Key    []string
	Rule   Rule
	Shadow bool
}

// fits tells whether o is for the key of entries, and whether it says every part of it.
func (o *Override) fits(entries []*commonv3.RateLimitDescriptor_Entry) (fits, exact bool) {
	if len(entries) != len(o.Key) {
		return false, false
	}
	exact = true
	for i, want := range o.Key {
		if want == "*" {
			exact = false
		} else if entries[i].GetValue() != want {
			return false, false
		}
	}
	return true, exact
}

// of is the limit for the key of entries: l, or l with the numbers of an override.
func (l *Limit) of(entries []*commonv3.RateLimitDescriptor_Entry) (out *Limit, overridden bool) {
	var found *Override
	for i := range l.Overrides {
		fits, exact := l.Overrides[i].fits(entries)
		if fits && (found == nil || exact) {
			found = &l.Overrides[i]
		}
		if exact {
			break
		}
	}
	if found == nil {
		return l, false
	}
	return &Limit{Name: l.Name, Rule: found.Rule, Shadow: found.Shadow}, true
}

// Table holds the limits by name. Immutable.
type Table struct{ byName map[string]*Limit }

// TableOf reads the limits of scope global. sliding makes those that name no algorithm sliding windows, for which a burst
// has no meaning.
func TableOf(set istio.Set, sliding bool) *Table {
	t := &Table{byName: map[string]*Limit{}}
	for _, o := range set.RateLimits {
		for i, r := range o.Spec.Limits {
			per, err := istio.Per(r.Per)
			if r.Scope != "global" || err != nil || r.Requests == 0 || per < time.Millisecond {
				continue // what is wrong with it, istio.Decode has told
			}
			name := limitName(o, i, r)
			rule := Rule{Sliding: r.Algorithm == "slidingWindow" || r.Algorithm == "" && sliding, Bucket: r.Algorithm == "tokenBucket"}
			l := &Limit{Name: name, Rule: rule.with(r.Requests, per, r.Burst), Shadow: r.Action == "shadow"}
			for _, k := range r.Key {
				l.Source = append(l.Source, k.SourceAddress)
			}
			for _, v := range r.Overrides {
				if per, err := istio.Per(v.Per); err == nil && v.Requests > 0 && per >= time.Millisecond {
					l.Overrides = append(l.Overrides, Override{Key: v.Key, Rule: rule.with(v.Requests, per, v.Burst), Shadow: cmp.Or(v.Action, r.Action) == "shadow"})
				}
			}
			t.byName[name] = l
		}
	}
	return t
}

// limitName is what proxies call limit i of an object.
func limitName(o *istio.Object[*istio.RateLimit], i int, r istio.RateLimitRule) string {
	return o.Namespace + "/" + o.Name + "/" + cmp.Or(r.Name, strconv.Itoa(i))
}

// with is a rule of the same algorithm.
func (r Rule) with(requests uint32, per time.Duration, burst uint32) Rule {
	r.Requests, r.Per, r.Burst = requests, per, cmp.Or(burst, requests)
	if r.Sliding {
		r.Burst = requests
	}
	return r
}

// Names lists the limits, sorted.
func (t *Table) Names() []string { return slices.Sorted(maps.Keys(t.byName)) }

// Descriptor convention: the first entry names the limit, the values of the others are the parts of the key. Their
// names are free, so that Envoy's own rate-limit actions, some of which have fixed names, can make them. Those leave out a part
// that a request lacks: where entries are missing, part<i> and remote_address tell by their names which part they are.
const (
	entryLimit = "limit"
	entryPart  = "part"
)

// parts are the parts of the key among a descriptor's entries, each in its place, empty if the request lacks it. Entries that name
// the limit once more are none: Envoy makes one for each condition.
func (l *Limit) parts(entries []*commonv3.RateLimitDescriptor_Entry) []*commonv3.RateLimitDescriptor_Entry {
	again := func(e *commonv3.RateLimitDescriptor_Entry) bool {
		return e.GetKey() == entryLimit && e.GetValue() == l.Name
	}
	for len(entries) > 0 && again(entries[0]) {
		entries = entries[1:]
	}
	if len(entries) >= len(l.Source) {
		return entries
	}
	out := make([]*commonv3.RateLimitDescriptor_Entry, len(l.Source))
	for _, e := range entries {
		at := slices.Index(l.Source, true)
		if number, named := strings.CutPrefix(e.GetKey(), entryPart); named {
			n, err := strconv.ParseUint(number, 10, 8)
			if at = int(n); err != nil {
				at = -1
			}
		} else if !strings.HasSuffix(e.GetKey(), "remote_address") {
			at = -1
		}
		if at < 0 || at >= len(out) {
			return entries // not by Mizzen's translation
		}
		out[at] = e
	}
	return out
}

// other labels what no limit of the configuration covers.
const other = "(other)"

// find resolves a descriptor to its limit and the key of its state; nil: nothing limits it.
func (t *Table) find(d *commonv3.RateLimitDescriptor) (*Limit, string) {
	entries := d.GetEntries()
	var l *Limit
	if len(entries) > 0 && entries[0].GetKey() == entryLimit {
		l = t.byName[entries[0].GetValue()]
	}
	override, ok := overrideOf(d)
	if l == nil {
		if ok {
			return &Limit{Name: other, Rule: override}, stateKey("", entries, true)
		}
		return nil, ""
	}
	parts := l.parts(entries)
	key := stateKey(l.Name, parts, false)
	if own, overridden := l.of(parts); overridden {
		return own, key
	}
	if ok {
		own := *l
		override.Sliding, override.Bucket = l.Rule.Sliding, l.Rule.Bucket
		own.Rule = override
		return &own, key
	}
	return l, key
}

// named tells whether the descriptor is of the convention's form.
func named(d *commonv3.RateLimitDescriptor) bool {
	return len(d.GetEntries()) > 0 && d.GetEntries()[0].GetKey() == entryLimit
}

// overrideOf reads the limit that a descriptor brings along.
func overrideOf(d *commonv3.RateLimitDescriptor) (Rule, bool) {
	o := d.GetLimit()
	day := 24 * time.Hour
	per, ok := map[typev3.RateLimitUnit]time.Duration{
		typev3.RateLimitUnit_SECOND: time.Second, typev3.RateLimitUnit_MINUTE: time.Minute, typev3.RateLimitUnit_HOUR: time.Hour,
		typev3.RateLimitUnit_DAY: day, typev3.RateLimitUnit_MONTH: 30 * day, typev3.RateLimitUnit_YEAR: 365 * day,
	}[o.GetUnit()]
	if !ok || o.GetRequestsPerUnit() == 0 {
		return Rule{}, false
	}
	return Rule{Requests: o.GetRequestsPerUnit(), Per: per, Burst: o.GetRequestsPerUnit()}, true
}

// maxKey bounds a key in bytes; a longer one is kept as its SHA-256.
const maxKey = 256

// stateKey joins the parts of a key, each with its length before it, so that different parts never join to one key.
func stateKey(name string, entries []*commonv3.RateLimitDescriptor_Entry, names bool) string {
	var b strings.Builder
	b.WriteString(name)
	part := func(s string) {
		b.WriteByte('|')
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	for _, e := range entries {
		if names {
			part(e.GetKey())
		}
		part(e.GetValue())
	}
	if b.Len() <= maxKey {
		return b.String()
	}
	sum := sha256.Sum256([]byte(b.String()))
	return name + "|sha256:" + hex.EncodeToString(sum[:])
}
