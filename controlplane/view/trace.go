package view

import (
	"cmp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// defaultSampling is the percentage of new traces where nobody says one, as of Mizzen's filter.
const defaultSampling = 100

// traceSpec is what holds for one side of a proxy, client or server.
type traceSpec struct {
	mesh.TraceRule // its Client and Server are not looked at
	kind           string
}

// trace gives the proxy's HTTP listeners what the Telemetries in force there say.
func (s *scope) trace(v *mesh.View) {
	if s.cache.world.Tracing == nil {
		return
	}
	client, server := s.traceSpecs(v.Node)
	for _, l := range v.Listeners {
		switch l.Kind {
		case mesh.ListenOutboundTCP, mesh.ListenVirtualOutbound:
		case mesh.ListenInbound, mesh.ListenVirtualInbound:
			server.set(l, v)
		default:
			client.set(l, v)
		}
	}
}

// traceSpecs takes the default provider, then the rules of the root namespace's Telemetry, of the namespace's, and of the first
// that selects the workload, each over what came before: as Istio merges them.
func (s *scope) traceSpecs(n mesh.Node) (client, server traceSpec) {
	t := s.cache.world.Tracing
	client = traceSpec{mesh.TraceRule{Provider: t.Default, Tags: t.Tags}, tracing.Client}
	server = traceSpec{mesh.TraceRule{Provider: t.Default, Tags: t.Tags}, tracing.Server}
	var levels []*mesh.TracePolicy
	for _, i := range s.levels(n, len(t.Policies), func(i int) *mesh.Bearing { return &t.Policies[i].Bearing }) {
		levels = append(levels, t.Policies[i])
	}
	for _, p := range levels {
		for _, r := range p.Rules {
			if r.Client {
				client.take(r)
			}
			if r.Server {
				server.take(r)
			}
		}
	}
	for _, side := range []*traceSpec{&client, &server} {
		if p := side.Provider; p != nil && s.named[mesh.OutboundCluster(p.Port, "", p.Hostname)] == nil {
			side.Provider = nil // its service is not for this namespace to see
		}
	}
	if s.collects(n) {
		server.Provider = nil // a span for every batch of spans would never end
	}
	return client, server
}

// collects tells whether the proxy stands before a provider's own collector.
func (s *scope) collects(n mesh.Node) bool {
	return slices.ContainsFunc(s.cache.world.Tracing.Providers, func(p *mesh.TraceProvider) bool { return s.cache.standsBefore(p.Hostname, n) })
}

// take lets a rule change what it names.
func (s *traceSpec) take(r *mesh.TraceRule) {
	if r.NamesProvider {
		s.Provider = r.Provider
	}
	if r.NamesTags {
		s.Tags = r.Tags
	}
	s.Sampling = cmp.Or(r.Sampling, s.Sampling)
	s.Disabled = cmp.Or(r.Disabled, s.Disabled)
	s.UseRequestID = cmp.Or(r.UseRequestID, s.UseRequestID)
	s.NoContext = cmp.Or(r.NoContext, s.NoContext)
	s.Envoy = cmp.Or(r.Envoy, s.Envoy)
}

// set applies the spec to a listener, whose own tracing configuration (nil if the proxy cannot run the filter) may be shared.
func (s *traceSpec) set(l *mesh.Listener, v *mesh.View) {
	if l.Tracing != nil && s.Sampling != nil {
		own, share := *l.Tracing, filter.PercentOf(*s.Sampling)
		own.Sampling.Percentage = &share
		l.Tracing = &own
	}
	p, silent := s.Provider, s.NoContext != nil && *s.NoContext
	if silent && l.Tracing != nil {
		l.Tracing = nil // the filter makes no spans without headers: Envoy's own tracer does
	}
	if p == nil || s.Disabled != nil && *s.Disabled {
		return
	}
	cluster := mesh.OutboundCluster(p.Port, "", p.Hostname)
	if l.Tracing == nil || s.byEnvoy() || !v.Node.Host().Calls() { // nil: the proxy has no filter, or it is to write no headers
		l.Tracing = s.translation(l.Tracing, v)
		l.Tracer = &mesh.Tracer{
			Provider: p, Cluster: cluster, Service: traceService(v.Node), Instance: s.instance(v.Node), Sampling: sampling(s.Sampling, v), Tags: s.Tags,
			UseRequestID: s.UseRequestID == nil || *s.UseRequestID, NoContext: silent,
		}
		return
	}
	own := *l.Tracing
	own.Export = &tracing.Export{
		Protocol: p.Protocol, Cluster: cluster, Path: p.Path, Service: traceService(v.Node), Kind: s.kind,
		Timeout: filter.Duration(p.Timeout),
	}
	l.Tracing = &own
}

// instance names the proxy where the provider's protocol has a name for it.
func (s *traceSpec) instance(n mesh.Node) string {
	if s.Provider.Protocol != "skywalking" {
		return ""
	}
	return n.Name + "." + n.Namespace
}

// translation is what the filter does beside Envoy's tracer, which reads the headers before any filter runs, and writes its
// own after all of them: a filter that made a span id between the two would break the trace. The filter writes that tracer's
// span in the other formats, where it can ask for it; nil: it leaves the headers alone. own is nil where no filter runs.
func (s *traceSpec) translation(own *tracing.Config, v *mesh.View) *tracing.Config {
	if own == nil || v.Node.Host() != mesh.HostModule {
		return nil
	}
	out := &tracing.Config{Translate: true, IgnoreRequestID: s.UseRequestID != nil && !*s.UseRequestID}
	switch {
	case s.Provider.Protocol == "skywalking" || s.Provider.Protocol == "datadog":
		return nil // whose headers the filter does not read
	case s.Provider.Protocol != "zipkin":
		out.Extract = []tracing.Format{tracing.W3C}
	case s.Provider.W3C:
		out.Extract = []tracing.Format{tracing.B3, tracing.B3Multi, tracing.W3C}
	default:
		out.Extract = []tracing.Format{tracing.B3, tracing.B3Multi}
	}
	return out
}

// byEnvoy tells whether Envoy's own tracer makes the spans: where it was asked to, or must, or where custom tags want it and
// nobody said otherwise.
func (s *traceSpec) byEnvoy() bool {
	if _, only := s.Provider.EnvoyOnly(); only {
		return true
	}
	if s.Envoy != nil {
		return *s.Envoy
	}
	return len(s.Tags) > 0
}

func sampling(own *float64, v *mesh.View) float64 {
	if p := cmp.Or(own, v.Settings.TraceSampling); p != nil {
		return *p
	}
	return defaultSampling
}

// traceService names a workload in spans: "app.namespace", as Istio does by default.
func traceService(n mesh.Node) string {
	return cmp.Or(n.Labels["app"], n.Labels["service.istio.io/canonical-name"], n.Labels["app.kubernetes.io/name"], n.Name) + "." + n.Namespace
}
