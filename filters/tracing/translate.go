package tracing

import (
	"errors"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// fromEnvoy is the source of a context that is Envoy's own span: of metricContexts, and of metricInvalid where there is none.
const fromEnvoy = "envoy"

// validateTranslate refuses what contradicts Translate: Envoy's tracer decides it.
func (c *Config) validateTranslate() error {
	switch {
	case c.Export != nil:
		return errors.New("tracing: export: with translate Envoy's own tracer sends the spans")
	case c.Sampling != Sampling{}:
		return errors.New("tracing: sampling: with translate Envoy's own tracer decides (tracing.random_sampling of the HTTP connection manager)")
	}
	return nil
}

// newTranslator changes p into one that only translates.
func (p *Policy) newTranslator(c Config, env *filter.Env) error {
	if !env.Spans {
		return errors.New("tracing: translate: this host cannot ask Envoy for the span of its own tracer; only the dynamic module can")
	}
	p.translate, p.ignoreRequestID, p.requestID = true, c.IgnoreRequestID, false // Envoy makes x-request-id before its span
	if len(c.Extract) == 0 {
		p.extract = codesOf([]Format{B3, B3Multi, W3C}) // of Zipkin's tracer
	}
	p.labels[codes] = labelsOf(fromEnvoy)
	return nil
}

// translated is Request where Envoy's own tracer makes the spans: its span is written in every format. Envoy writes its
// own formats once more, after all filters, so they end as it wants them.
func (p *Policy) translated(x *filter.Exchange) filter.Verdict {
	x.Done()
	var in seen
	in.read(x.Request, p.watched, "")
	sp, ok := p.active(x, &in)
	if !ok {
		x.Host.Count(metricInvalid, 1, fromEnvoy)
		return filter.Verdict{}
	}
	source := in.foreign(&sp)
	if source == codes {
		p.write(x, &in, &sp)
	}
	if p.baggage && in.is(fBaggage) {
		p.trim(x, &in)
	}
	sampled := 0
	if sp.decision == sample {
		sampled = 1
	}
	x.Host.Count(metricContexts, 1, p.labels[source][sampled]...)
	return filter.Verdict{}
}

// foreign is a format in which the request carries another trace than Envoy's, codes if there is none: Envoy's tracer could not
// read it, or read another first. Then everything stays as it came: the trace of the applications is not to be cut.
func (s *seen) foreign(sp *span) code {
	for c := range codes {
		if got, _, ok := s.context(c); ok && got.hasIDs() && !got.sameTrace(sp) {
			return c
		}
	}
	return codes
}

// active is Envoy's own span. Envoy tells its trace; the rest it must be asked about in other ways.
//
// Whether it is sampled: as the context says that Envoy took over (the trace is the same), or one that came alone, else
// as the connection manager wrote into x-request-id.
//
// Its id, which Zipkin's tracer does not tell: where Envoy took over a context, the caller's span stands in for its own, so that
// what is below hangs beside Envoy's span, in the same trace. Where the trace began in Envoy, Zipkin's tracer gives the
// span the low half of the trace id.
func (p *Policy) active(x *filter.Exchange, in *seen) (sp span, ok bool) {
	if sp.hi, sp.lo, ok = parseTraceID(x.Attribute(filter.SpanTraceID)); !ok {
		return sp, false
	}
	sp.id, _ = parseHex(x.Attribute(filter.SpanID))
	for _, c := range p.extract {
		got, _, ok := in.context(c)
		if !ok || got.hasIDs() && !got.sameTrace(&sp) {
			continue
		}
		if sp.decision == undecided {
			sp.decision = min(got.decision, sample) // Envoy's tracers pass no debug flag on
		}
		if sp.id == 0 {
			sp.id = got.id
		}
	}
	if sp.id == 0 {
		sp.id = sp.lo
	}
	if sp.decision == undecided {
		sp.decision = p.byRequestID(in)
	}
	return sp, sp.id != 0
}

// byRequestID reads the decision that Envoy's connection manager left in x-request-id.
func (p *Policy) byRequestID(in *seen) decision {
	if p.ignoreRequestID {
		return sample
	}
	if id := in.value[fRequestID]; len(id) == 36 && strings.IndexByte("9ab", id[14]) >= 0 {
		return sample
	}
	return drop
}
