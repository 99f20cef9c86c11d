package xdsgen

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Istio's names of the listeners that stand for many, by which EnvoyFilters know the workload's own ports.
const (
	virtualInboundName  = "virtualInbound"
	virtualOutboundName = "virtualOutbound"
)

// listener applies a patch of listeners or of what is in them.
func (p *patcher) listener(patch *mesh.Patch, value proto.Message) {
	if patch.ApplyTo == "LISTENER" && patch.Operation == "ADD" {
		l := value.(*listenerv3.Listener)
		if !slices.ContainsFunc(p.listeners, func(o *patched[*listenerv3.Listener]) bool { return o.res.Name == l.GetName() }) {
			p.listeners = append(p.listeners, &patched[*listenerv3.Listener]{
				res: &Resource{Name: l.GetName()}, msg: l, origins: []mesh.Origin{patch.Origin},
			})
		}
		return
	}
	for _, l := range p.listeners {
		inbound := l.msg.GetTrafficDirection() == corev3.TrafficDirection_INBOUND
		if l.gone || !p.context(patch, inbound) || !p.listenerMatches(patch, l.msg, inbound) {
			continue
		}
		p.oneListener(patch, l, value)
	}
}

func (p *patcher) oneListener(patch *mesh.Patch, l *patched[*listenerv3.Listener], value proto.Message) {
	changed := false
	switch patch.ApplyTo {
	case "LISTENER":
		if patch.Operation == "REMOVE" {
			l.gone = true
			return
		}
		mergeInto(l.msg, value, patch.Operation)
		l.msg.Name = l.res.Name
		changed = true
	case "LISTENER_FILTER":
		want := listenerMatch(patch).ListenerFilter
		l.msg.ListenerFilters, changed = edited(l.msg.ListenerFilters, patch,
			func(f *listenerv3.ListenerFilter) bool { return f.GetName() == want }, want != "", value.(*listenerv3.ListenerFilter), len(l.msg.ListenerFilters))
	case "FILTER_CHAIN":
		changed = p.chains(patch, l.msg, value.(*listenerv3.FilterChain))
	default:
		for _, c := range append(slices.Clone(l.msg.FilterChains), l.msg.DefaultFilterChain) {
			if c != nil && chainMatches(patch, l.msg, c) && p.chain(patch, c, value) {
				changed = true
			}
		}
	}
	if changed {
		l.change(patch)
	}
}

func listenerMatch(patch *mesh.Patch) mesh.ListenerMatch {
	if patch.Listener == nil {
		return mesh.ListenerMatch{}
	}
	return *patch.Listener
}

// listenerMatches knows a listener by its name and port. The workload's own ports are chains of virtualInbound where connections are
// intercepted, and listeners by themselves where not: both are found by that name.
func (p *patcher) listenerMatches(patch *mesh.Patch, l *listenerv3.Listener, inbound bool) bool {
	m := listenerMatch(patch)
	parts := patch.ApplyTo != "LISTENER"
	if m.Name != "" && m.Name != l.GetName() && !(m.Name == virtualInboundName && inbound && parts) {
		return false
	}
	if m.Port == 0 || parts && (l.GetName() == virtualInboundName || l.GetName() == virtualOutboundName) {
		return true
	}
	bound := l.GetAddress().GetSocketAddress().GetPortValue()
	return bound == m.Port || p.view.Node.Ports[m.Port] == bound
}

// chainMatches looks at what a filter chain is for.
func chainMatches(patch *mesh.Patch, l *listenerv3.Listener, c *listenerv3.FilterChain) bool {
	m, fits := listenerMatch(patch), c.GetFilterChainMatch()
	virtual := l.GetName() == virtualInboundName || l.GetName() == virtualOutboundName
	port := fits.GetDestinationPort().GetValue()
	switch {
	case virtual && m.Port != 0 && port != m.Port,
		m.DestinationPort != 0 && port != m.DestinationPort,
		m.Chain != "" && m.Chain != c.GetName(),
		m.SNI != "" && !slices.Contains(fits.GetServerNames(), m.SNI),
		m.Transport != "" && m.Transport != fits.GetTransportProtocol():
		return false
	}
	for _, a := range m.Applications {
		if !slices.Contains(fits.GetApplicationProtocols(), a) {
			return false
		}
	}
	return true
}

// chains applies a FILTER_CHAIN patch.
func (p *patcher) chains(patch *mesh.Patch, l *listenerv3.Listener, value *listenerv3.FilterChain) bool {
	if patch.Operation == "ADD" {
		l.FilterChains = append(l.FilterChains, proto.CloneOf(value))
		return true
	}
	changed := false
	fits := func(c *listenerv3.FilterChain) bool { return chainMatches(patch, l, c) }
	l.FilterChains, changed = edited(l.FilterChains, patch, fits, true, value, 0)
	if d := l.DefaultFilterChain; d != nil && fits(d) {
		changed = true
		if patch.Operation == "REMOVE" {
			l.DefaultFilterChain = nil
		} else {
			mergeInto(d, value, patch.Operation)
		}
	}
	return changed
}

// chain applies a patch of a network filter, or of an HTTP filter within one.
func (p *patcher) chain(patch *mesh.Patch, c *listenerv3.FilterChain, value proto.Message) bool {
	m := listenerMatch(patch)
	if patch.ApplyTo == "NETWORK_FILTER" {
		changed := false
		end := max(len(c.Filters)-1, 0) // the last filter is the one that takes the connection
		c.Filters, changed = edited(c.Filters, patch,
			func(f *listenerv3.Filter) bool { return knownName(f.GetName()) == m.Filter }, m.Filter != "", value.(*listenerv3.Filter), end)
		return changed
	}
	changed := false
	for _, f := range c.Filters {
		if m.Filter != "" && m.Filter != f.GetName() {
			continue
		}
		h := &hcmv3.HttpConnectionManager{}
		if !f.GetTypedConfig().MessageIs(h) || f.GetTypedConfig().UnmarshalTo(h) != nil {
			continue
		}
		var did bool
		h.HttpFilters, did = edited(h.HttpFilters, patch, func(f *hcmv3.HttpFilter) bool { return knownName(f.GetName()) == m.SubFilter },
			m.SubFilter != "", p.discovered(value.(*hcmv3.HttpFilter)), placeOf(h.HttpFilters, patch))
		if !did {
			continue
		}
		if packed, err := toAny(h); err == nil {
			f.ConfigType, changed = &listenerv3.Filter_TypedConfig{TypedConfig: packed}, true
		}
	}
	return changed
}

// placeOf is where an HTTP filter goes that is put beside no other: before the router, or with ADD after the filters of its class.
func placeOf(filters []*hcmv3.HttpFilter, patch *mesh.Patch) int {
	after := func(names ...string) int {
		for i := len(filters) - 1; i >= 0; i-- {
			if slices.Contains(names, filters[i].GetName()) {
				return i + 1
			}
		}
		return 0
	}
	class := patch.FilterClass
	if patch.Operation != "ADD" {
		class = ""
	}
	switch class {
	case "AUTHN":
		return after("envoy.filters.http.jwt_authn")
	case "AUTHZ":
		return after("envoy.filters.http.jwt_authn", "envoy.filters.http.ext_authz", "envoy.filters.http.rbac")
	}
	return max(len(filters)-1, 0)
}

// extension keeps an EXTENSION_CONFIG for the HTTP filters that name it.
func (p *patcher) extension(_ *mesh.Patch, value proto.Message) {
	c := value.(*corev3.TypedExtensionConfig)
	p.extensions[c.GetName()] = c
}

// discovered is a filter with the configuration that it would look for by its name, of the extensions that were added: nothing
// here serves them one by one.
func (p *patcher) discovered(f *hcmv3.HttpFilter) *hcmv3.HttpFilter {
	c, ok := p.extensions[f.GetName()].(*corev3.TypedExtensionConfig)
	if f.GetConfigDiscovery() == nil || !ok {
		return f
	}
	out := proto.CloneOf(f)
	out.ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: c.GetTypedConfig()}
	return out
}
