// Package filtertest runs policies without an Envoy: a fake host that counts, seeded randomness, a clock moved by
// hand, and a runner that drives a chain through its waits, calls and reroutes without sleeping.
package filtertest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Host is a filter.Host that remembers what policies told it. The zero value is ready. Not safe for concurrent use.
type Host struct {
	// Route and Source are what RouteName and SourceAddress answer.
	Route, Source string
	// Annotations is the dynamic metadata.
	Annotations map[string]string
	// Flags are the response flags, in order.
	Flags []string

	counts map[string]int64
}

// RouteName implements filter.Host.
func (h *Host) RouteName() string { return h.Route }

// SourceAddress implements filter.Host.
func (h *Host) SourceAddress() string { return h.Source }

// Count implements filter.Host. It panics if the number of labels is not the metric's: Envoy refuses such a call.
func (h *Host) Count(m *filter.Metric, n int64, labels ...string) {
	if len(labels) != len(m.Labels) {
		panic("filtertest: " + m.Name + ": wrong number of labels: " + strings.Join(labels, ","))
	}
	if h.counts == nil {
		h.counts = map[string]int64{}
	}
	h.counts[series(m.Name, labels)] += n
}

// Annotate implements filter.Host.
func (h *Host) Annotate(key, value string) {
	if h.Annotations == nil {
		h.Annotations = map[string]string{}
	}
	h.Annotations[key] = value
}

// Flag implements filter.Host.
func (h *Host) Flag(code string) { h.Flags = append(h.Flags, code) }

// Counted returns the value of one series of a metric.
func (h *Host) Counted(m *filter.Metric, labels ...string) int64 {
	return h.counts[series(m.Name, labels)]
}

// Counts returns every series touched, by "name{label,label}".
func (h *Host) Counts() map[string]int64 { return maps.Clone(h.counts) }

// Series lists every series touched as "name{label,label}", sorted.
func (h *Host) Series() []string { return slices.Sorted(maps.Keys(h.counts)) }

func series(name string, labels []string) string {
	return name + "{" + strings.Join(labels, ",") + "}"
}

// Rand returns seeded randomness.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6d697a7a656e)) }

// Clock is moved by hand.
type Clock struct{ now time.Time }

// NewClock starts at a fixed time: 2026-01-01T00:00:00Z.
func NewClock() *Clock { return &Clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

// Now is the clock's time.
func (c *Clock) Now() time.Time { return c.now }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.now = c.now.Add(d) }

// Set puts the clock to t.
func (c *Clock) Set(t time.Time) { c.now = t }

// Env returns an Env that keeps shared values in a map of its own, of a host that makes the calls of outboxes and resets streams: the test
// is that host.
func Env() *filter.Env {
	kept := map[string]any{}
	return &filter.Env{Sends: true, Resets: true, Shared: func(key string, make func() any) any {
		if v, ok := kept[key]; ok {
			return v
		}
		kept[key] = make()
		return kept[key]
	}}
}

// Headers parses "name: value" lines; names are lowered. It panics on a line without a colon.
func Headers(lines ...string) *filter.Headers { return filter.NewHeaders(parse(lines)) }

// NewExchange makes an exchange around "name: value" request headers; :method GET, :scheme http, :authority
// example.test and :path / are filled in where absent. Its Host is a *Host, its Rand has seed 1.
func NewExchange(lines ...string) *filter.Exchange {
	return &filter.Exchange{
		Request: filter.NewHeaders(request(lines)),
		Now:     NewClock().Now(),
		Rand:    Rand(1),
		Host:    &Host{},
	}
}

func request(lines []string) []filter.Header {
	out := parse(lines)
	for _, d := range []filter.Header{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "example.test"}, {Name: ":path", Value: "/"}} {
		if !slices.ContainsFunc(out, func(h filter.Header) bool { return h.Name == d.Name }) {
			out = append(out, d)
		}
	}
	return out
}

func parse(lines []string) []filter.Header {
	out := make([]filter.Header, 0, len(lines)+8)
	for _, l := range lines {
		i := strings.IndexByte(l[min(1, len(l)):], ':')
		if i < 0 {
			panic("filtertest: header without a colon: " + l)
		}
		out = append(out, filter.Header{Name: strings.ToLower(l[:i+1]), Value: strings.TrimSpace(l[i+2:])})
	}
	return out
}
