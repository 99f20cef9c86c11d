package server

import (
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// Sync states of a type, as `istioctl proxy-status` prints them.
const (
	StateSynced  = "SYNCED"
	StateStale   = "STALE"    // sent and not acknowledged, or waiting for something before it may be sent
	StateNotSent = "NOT SENT" // the proxy did not ask, or there was nothing to send
	StateError   = "ERROR"    // something was rejected; the last good version is in force
)

// ProxyStatus is one connected proxy: an element of the list at /debug/syncz.
type ProxyStatus struct {
	Proxy     string `json:"proxy"` // "reviews-v1-0.default"
	ID        string `json:"id"`    // the xDS node's
	Namespace string `json:"namespace"`
	Gateway   bool   `json:"gateway"`
	Envoy     string `json:"envoy,omitempty"` // its version
	Protocol  string `json:"protocol"`        // delta or sotw
	// Synced tells that the proxy has asked for and acknowledged everything that it is to have of Generation: clusters and
	// their endpoints, listeners, their route tables, and the tables' virtual hosts. Traffic flows by then.
	Synced bool `json:"synced"`
	// Acknowledged is the same as Synced.
	Acknowledged bool `json:"acknowledged"`
	// Generation counts the worlds published since the control plane started; this proxy is at this one.
	Generation uint64 `json:"generation"`
	Module     bool   `json:"module"` // the Go policies act in this proxy
	// Filters is what runs the policies there now: "native" also where the module could not be loaded.
	Filters mesh.FilterHost `json:"filters"`
	// Without are the objects that the proxy goes without since Envoy refused what they made, each with Envoy's message.
	Without   []string             `json:"without,omitempty"`
	Connected time.Time            `json:"connected"`
	Types     map[string]TypeState `json:"types"` // by cds, eds, lds, rds, vhds
}

// TypeState is one resource type of one proxy.
type TypeState struct {
	State     string `json:"state"`     // one of the State constants
	Resources int    `json:"resources"` // acknowledged
	Waiting   int    `json:"waiting"`   // held back until something else is acknowledged
	Nonce     string `json:"nonce,omitempty"`
	Version   string `json:"version,omitempty"` // state-of-the-world only
	Error     string `json:"error,omitempty"`   // Envoy's message
}

// Status lists the connected proxies, sorted by node id.
func (s *Server) Status() []ProxyStatus {
	_, generation, _ := s.current()
	out := []ProxyStatus{}
	for _, c := range s.connections() {
		if !c.asksNames() {
			out = append(out, c.status(generation))
		}
	}
	return out
}

// asksNames tells whether the stream is of an agent that wants names alone: that is no proxy.
func (c *conn) asksNames() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.namesOnly()
}

func (c *conn) status(generation uint64) ProxyStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := ProxyStatus{
		Proxy: proxyName(c.node), ID: c.id, Namespace: c.node.Namespace, Gateway: c.node.Gateway, Envoy: c.version,
		Protocol: "sotw", Generation: c.generation, Module: c.node.Host().Mizzen(), Filters: c.node.Host(), Connected: c.since, Types: map[string]TypeState{},
	}
	if c.state.delta {
		p.Protocol = "delta"
	}
	p.Synced = generation > 0 && c.generation == generation && c.failure == "" && c.state.acknowledged()
	p.Acknowledged = p.Synced
	c.out.each(func(ref istio.Ref, why culprit) {
		p.Without = append(p.Without, strings.TrimSpace(ref.String()+" "+why.position.String())+": "+why.text)
	})
	for _, ch := range c.state.ch {
		if (ch.kind != hosts || c.state.delta) && (ch.kind != names || ch.open) {
			p.Types[ch.kind.short()] = c.state.typeState(ch)
		}
	}
	return p
}

func (s *session) typeState(c *channel) TypeState {
	t := TypeState{State: StateSynced, Waiting: c.behind, Nonce: c.nonce}
	if !s.delta {
		t.Version = c.version
	}
	c.acked.each(func(_ string, h held) bool {
		if h.version != "" {
			t.Resources++
		}
		return true
	})
	name := ""
	for n, r := range c.refused {
		if name == "" || n < name {
			name, t.Error = n, r.text
		}
	}
	switch {
	case t.Error != "":
		t.State = StateError
	case !c.open || c.sent.empty() && c.nonce == "":
		t.State = StateNotSent
	case s.want == nil || len(c.flight) > 0 || c.behind > 0:
		t.State = StateStale
	}
	return t
}

// quiet tells that nothing is under way.
func (s *session) quiet() bool {
	for _, c := range s.ch {
		if len(c.flight) > 0 || c.behind > 0 {
			return false
		}
	}
	return true
}

// acknowledged tells whether the proxy has everything that it is to have. A cluster that lingers does not count.
func (s *session) acknowledged() bool {
	if s.want == nil || !s.ch[clusters].open || !s.ch[listeners].open {
		return false
	}
	for _, c := range s.ch {
		if len(c.refused) > 0 || c.behind > 0 || len(c.flight) > 0 {
			return false
		}
	}
	return s.complete(clusters, func(r *xdsgen.Resource) bool { return s.ch[clusters].wants(r.Name) }) &&
		s.complete(listeners, func(r *xdsgen.Resource) bool { return s.ch[listeners].wants(r.Name) }) &&
		s.complete(extensions, func(r *xdsgen.Resource) bool { return s.ch[extensions].wants(r.Name) }) &&
		s.complete(endpoints, func(r *xdsgen.Resource) bool { return s.ch[clusters].has(r.Name) }) &&
		s.routed()
}

// complete tells whether the proxy has what it is to have of a kind, as far as it needs it. Only differences are looked at.
func (s *session) complete(k kind, needed func(*xdsgen.Resource) bool) bool {
	want, ok := s.list(k), true
	s.ch[k].acked.differs(want, func(name string) bool {
		r := want.Find(name)
		ok = r == nil || !needed(r) || s.ch[k].acked.at(name).version == r.Version
		return ok
	})
	return ok
}

// routed tells whether the tables of every listener are there, with all of their virtual hosts.
func (s *session) routed() bool {
	for l := range s.want.Listeners.All() {
		for _, t := range tables(l) {
			if w := s.list(routes).Find(t); w != nil && s.ch[routes].acked.at(t).version != w.Version {
				return false
			}
		}
	}
	return s.complete(hosts, func(r *xdsgen.Resource) bool { return s.ch[routes].has(r.Table) })
}
