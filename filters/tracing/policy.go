// Package tracing reads the trace context of a request in whatever format it came, makes a span for this hop, writes the
// context in every configured format, so that all of them say the same, and sends the span to a collector, if there is
// one. See README.md.
package tracing

import (
	"errors"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Metrics of the policy.
var (
	metricContexts = &filter.Metric{
		Name: "trace_contexts_total", Labels: []string{"source", "sampled"},
		Help: "Requests by the format that their trace came in (new: it began here) and by whether it is sampled.",
	}
	metricInvalid = &filter.Metric{
		Name: "trace_context_invalid_total", Labels: []string{"format"},
		Help: "Malformed trace contexts; they were ignored and replaced.",
	}
	metricBaggage = &filter.Metric{
		Name: "trace_baggage_dropped_total", Labels: nil,
		Help: "Baggage members left out because they are not allowed or too long.",
	}
)

// Kind describes the policy to the registry.
func Kind() filter.Kind {
	return filter.Kind{
		Name:   "tracing",
		Reason: "first, so that what others refuse is traced too, and keys may name the trace",
		New: func(raw []byte, env *filter.Env) (filter.Policy, error) {
			c, err := ParseConfig(raw)
			if err != nil {
				return nil, err
			}
			return New(c, env)
		},
		Metrics: []*filter.Metric{metricContexts, metricInvalid, metricBaggage, metricExported, metricDropped, metricBatches},
	}
}

// Policy is the compiled configuration. Immutable.
type Policy struct {
	extract   []code
	inject    uint8 // bit by code
	sampler   sampler
	force     string // header, lower case; "" for none
	watched   filter.Names
	requestID bool
	annotate  bool
	translate bool // see translate.go
	// ignoreRequestID belongs to translate.
	ignoreRequestID bool
	baggage         bool // bound it
	allow           []string
	maxBytes        int
	labels          [codes + 1][2][]string // of metricContexts, by source and sampled; made once
	exporter        *exporter              // nil: no spans
	client          bool                   // they are client spans
	service         string
}

// New makes the policy.
func New(c Config, env *filter.Env) (filter.Policy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Export != nil && !env.Sends {
		return nil, errors.New("tracing: export: this host cannot send spans (it has no calls outside of requests): " +
			"leave export out, and let Envoy's own tracer report them (tracing.provider of the HTTP connection manager)")
	}
	p := &Policy{requestID: !c.KeepRequestID, annotate: c.Annotate, force: strings.ToLower(c.Sampling.Header)}
	p.watched = watched(p.force)
	extract, inject := c.Extract, c.Inject
	if len(extract) == 0 {
		extract = formats()
	}
	if len(inject) == 0 {
		inject = []Format{W3C, B3Multi}
	}
	p.extract = codesOf(extract)
	for _, code := range codesOf(inject) {
		p.inject |= 1 << code
	}
	percentage := filter.Whole
	if c.Sampling.Percentage != nil {
		percentage = *c.Sampling.Percentage
	}
	p.sampler = sampler{threshold: thresholdOf(percentage), ignoreParent: c.Sampling.IgnoreParent}
	p.sampler.setBudget(c.Sampling.PerSecond, env)
	if c.Export != nil {
		p.exporter, p.client, p.service = exporterOf(c.Export, env), c.Export.Kind == Client, c.Export.Service
	}
	for c := range codes {
		p.labels[c] = labelsOf(string(c.format()))
	}
	p.labels[codes] = labelsOf("new")
	if b := c.Baggage; b != nil {
		p.baggage, p.maxBytes = true, b.MaxBytes
		if p.maxBytes == 0 {
			p.maxBytes = DefaultBaggageBytes
		}
		if len(b.Allow) > 0 {
			p.allow = b.Allow
		}
	}
	if c.Translate {
		if err := p.newTranslator(c, env); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// labelsOf are the label values of metricContexts for a source: not sampled, sampled.
func labelsOf(source string) [2][]string {
	return [2][]string{{source, "false"}, {source, "true"}}
}

func codesOf(fs []Format) []code {
	out := make([]code, 0, len(fs))
	for _, f := range fs {
		for c := range codes {
			if c.format() == f {
				out = append(out, c)
			}
		}
	}
	return out
}

// Request implements filter.Policy.
func (p *Policy) Request(x *filter.Exchange) filter.Verdict {
	if x.Resumed() {
		return filter.Verdict{}
	}
	if p.translate {
		return p.translated(x)
	}
	var in seen
	in.read(x.Request, p.watched, p.force)
	sp, source := p.extractSpan(x, &in)
	if !sp.hasIDs() {
		sp.hi, sp.lo, sp.id = x.Rand.Uint64(), nonZero(x.Rand), 0
	}
	sp.decision = p.sampler.decide(&sp, in.forced, x.Now)
	sp.parent, sp.id = sp.id, nonZero(x.Rand)
	p.write(x, &in, &sp)
	if p.baggage && in.is(fBaggage) {
		p.trim(x, &in)
	}
	sampled := 0
	if sp.decision >= sample {
		sampled = 1
	}
	x.Host.Count(metricContexts, 1, p.labels[source][sampled]...)
	if sampled == 0 || p.exporter == nil {
		x.Done()
		return filter.Verdict{}
	}
	r := &record{span: sp, start: x.Now, grpc: -1}
	x.SetState(r)
	x.Observe(r)
	return filter.Verdict{}
}

// Response implements filter.Policy.
func (p *Policy) Response(x *filter.Exchange) filter.Verdict {
	if r, ok := x.State().(*record); ok {
		r.responded(x.Response)
	}
	return filter.Verdict{}
}

// End implements filter.Ender: the span is finished and queued.
func (p *Policy) End(x *filter.Exchange) {
	r, ok := x.State().(*record)
	if !ok {
		return
	}
	var room [maxTags]tag
	out := r.finish(x, p.client, &room)
	out.service = p.service
	if !p.exporter.put(p.exporter.codec.appendSpan(make([]byte, 0, spanRoom), &out), x.Now) {
		x.Host.Count(metricDropped, 1, queueFull)
	}
}

// spanRoom is what most spans take, in bytes.
const spanRoom = 1024

// Outbox implements filter.Sender.
func (p *Policy) Outbox() filter.Outbox {
	if p.exporter == nil {
		return nil
	}
	return p.exporter
}

// extractSpan returns the first context with identifiers, in the order of extract. Where there is none, the first
// decision that came alone (b3: 0) holds for the trace that begins here, and the source is codes.
func (p *Policy) extractSpan(x *filter.Exchange, in *seen) (sp span, source code) {
	if in.has == 0 {
		return span{}, codes
	}
	var alone decision
	for _, c := range p.extract {
		got, present, ok := in.context(c)
		switch {
		case !present:
		case !ok:
			x.Host.Count(metricInvalid, 1, string(c.format()))
		case got.hasIDs():
			return got, c
		case alone == undecided:
			alone = got.decision
		}
	}
	return span{decision: alone}, codes
}

func (p *Policy) trim(x *filter.Exchange, in *seen) {
	v := in.value[fBaggage]
	many := in.many>>fBaggage&1 != 0
	if many {
		v, _ = x.Request.Joined(baggage)
	}
	out, dropped := trimBaggage(v, p.allow, p.maxBytes)
	if dropped > 0 {
		x.Host.Count(metricBaggage, int64(dropped))
	}
	switch {
	case out == v:
	case out == "":
		x.Request.Remove(baggage)
	default:
		x.Request.Set(baggage, out)
	}
}

func nonZero(r filter.Rand) uint64 {
	for range 8 {
		if v := r.Uint64(); v != 0 {
			return v
		}
	}
	return 1
}
