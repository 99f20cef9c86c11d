package filter

import (
	"testing"
	"time"
)

// observer writes down what it sees.
type observer struct{ log []string }

func (o *observer) Annotated(key, value string) { o.log = append(o.log, key+"="+value) }
func (o *observer) Flagged(code string)         { o.log = append(o.log, "flag "+code) }
func (o *observer) Replied(r *Reply)            { o.log = append(o.log, "reply "+r.Details) }

// knowing is a host that knows one attribute.
type knowing struct{ *host }

func (knowing) Attribute(a Attribute) string {
	if a == UpstreamCluster {
		return "reviews"
	}
	return ""
}

func TestObserveSeesWhatLaterPoliciesTell(t *testing.T) {
	var log []string
	o := &observer{}
	first := &scripted{name: "first", log: &log, request: func(x *Exchange) Verdict {
		x.Host.Annotate("early", "1")
		x.Observe(&observer{})
		x.Observe(o) // takes the place of the one before
		return Verdict{}
	}}
	second := &scripted{name: "second", log: &log, request: func(x *Exchange) Verdict {
		x.Host.Annotate("canary", "v2")
		x.Host.Flag("DI")
		return Verdict{}
	}, response: func(*Exchange) Verdict { return Verdict{Reply: &Reply{Status: 503, Details: "late"}} }}
	bad := &scripted{name: "bad", log: &log, request: func(*Exchange) Verdict { panic("boom") }}
	last := &scripted{name: "last", log: &log, request: func(*Exchange) Verdict {
		return Verdict{Reply: &Reply{Status: 429, Details: "limited", Flag: "RL"}}
	}}
	r, h := newRun()
	base := program(first, second, bad, last)
	r.Request(base, nil)
	r.Response(base)
	r.Response(base)
	same(t, o.log, "canary=v2", "flag DI", "panic=bad: boom", "reply limited", "flag RL", "reply late")
	// A Reply's flag is the host's to set, from the verdict.
	same(t, h.log, "early=1", "canary=v2", "flag DI", "panics_total{bad}", "panic=bad: boom")
}

func TestAttributesThroughAnObserver(t *testing.T) {
	x := &Exchange{Host: &host{}}
	if got := x.Attribute(UpstreamCluster); got != "" {
		t.Errorf("a host that knows nothing says %q", got)
	}
	x.Host = knowing{&host{}}
	x.Observe(&observer{})
	if got, other := x.Attribute(UpstreamCluster), x.Attribute(UpstreamAddress); got != "reviews" || other != "" {
		t.Errorf("got %q and %q", got, other)
	}
}

// box is an Outbox that holds nothing.
type box struct{ Outbox }

func (*box) Period() time.Duration { return time.Second }

type sender struct {
	quiet
	box Outbox
}

func (s sender) Outbox() Outbox { return s.box }

func TestOutboxesOfAProgramEachOnce(t *testing.T) {
	a, b := &box{}, &box{}
	p := &Program{Policies: []Policy{sender{box: a}, nil, quiet{}, sender{}, sender{box: b}, sender{box: a}}}
	got := p.Outboxes()
	if len(got) != 2 || got[0] != Outbox(a) || got[1] != Outbox(b) {
		t.Errorf("got %v", got)
	}
}
