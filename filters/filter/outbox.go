package filter

import "time"

// A Sender is a Policy with something to send outside of any exchange, for example spans to a collector. It is made only
// where Env.Sends says that the host makes such calls.
type Sender interface {
	// Outbox is where that waits, always the same one for a policy; nil if there is nothing to send, ever. Policies
	// share outboxes, also over an update of the configuration, so a host compares them with ==.
	Outbox() Outbox
}

// Outbox is a queue of calls for the host to make between exchanges. Its methods never block, and are safe for
// concurrent use: policies fill it on other threads meanwhile.
//
// A host asks every outbox of the programs it runs, routes' included, each Period: it calls Next until that is nil,
// makes each Call through one of Envoy's clusters, and tells Answered. After Answered it asks Next again at once. When
// no program refers to an outbox any more, the host sends what is left if it can: it calls Close, and goes on asking
// until Empty, for some seconds at most.
type Outbox interface {
	// Period is how often the host should ask.
	Period() time.Duration
	// Next is a call to make now, nil if there is none. It is the host's to make, and not changed afterwards.
	Next(now time.Time, m Meter) *Call
	// Answered tells what became of a call that Next returned, exactly once for each. An Answer with Err says that it
	// did not reach anybody; one whose ":status" is not 200 to 299 that it was refused.
	Answered(c *Call, a *Answer, now time.Time, m Meter)
	// Close says that nobody fills the outbox any more, for now: what waits is to be sent without waiting for more, and
	// not to be retried. Another policy may come to fill it again, which Next must allow for.
	Close()
	// Empty tells whether nothing waits and no call is under way.
	Empty() bool
}

// Meter counts what happens outside of exchanges. Every Host is one. A host may add sums up and tell Envoy later.
type Meter interface {
	// Count adds n to a counter, as Host.Count does.
	Count(m *Metric, n int64, labels ...string)
}

// Outboxes are those of the program's policies, each once.
func (p *Program) Outboxes() []Outbox {
	var out []Outbox
	for _, policy := range p.Policies {
		s, ok := policy.(Sender)
		if !ok {
			continue
		}
		if o := s.Outbox(); o != nil && !contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

func contains(all []Outbox, o Outbox) bool {
	for _, have := range all {
		if have == o {
			return true
		}
	}
	return false
}
