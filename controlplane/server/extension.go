package server

import "github.com/mizzen-mesh/mizzen/controlplane/xdsgen"

// Extensions are what listeners discover by name. Envoy refuses a listener that names one which it refused before, whatever else that
// listener is: so a refused one is replaced at once by what was there before, or by what stands in for it.

// standing is what is to stand under a wanted extension's name. Other kinds stay as they were in the proxy by themselves.
func (c *channel) standing(r *xdsgen.Resource) *xdsgen.Resource {
	ref, refused := c.refused[r.Name]
	if c.kind != extensions || !refused || ref.res.Version != r.Version {
		return r
	}
	if h := c.acked.at(r.Name); h.res != nil && h.version != "" {
		return h.res
	}
	if r.Instead != nil {
		return r.Instead
	}
	return r
}

// source is the set that what is sent is from: nothing for extensions, of which some may stand in for what is wanted.
func (s *session) source(c *channel) xdsgen.Set {
	if c.kind == extensions {
		return xdsgen.Set{}
	}
	return s.list(c.kind)
}

// note takes down that a proxy has set.
func (c *channel) note(l *ledger, set []*xdsgen.Resource, from xdsgen.Set) {
	if c.kind != extensions {
		l.take(set, from)
		return
	}
	for _, x := range set {
		l.put(x.Name, held{x.Version, x})
	}
}

// retryListeners sends listeners again that the proxy refused: perhaps for an extension that it has in another form by now.
func (s *session) retryListeners() {
	c := s.ch[listeners]
	for name := range c.refused {
		delete(c.refused, name)
		c.mark(name)
	}
}
