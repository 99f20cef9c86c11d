package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	telemetry "istio.io/api/telemetry/v1alpha1"
)

// telemetries lowers the tracing of Telemetries, oldest first, and MeshConfig's providers.
func (c *compiler) telemetries() {
	providers := c.providers()
	t := &mesh.Tracing{Default: c.defaultProvider(providers), Tags: c.defaultTags(), Providers: used(providers)}
	if t.Default != nil && !slices.Contains(t.Providers, t.Default) {
		t.Providers = append(t.Providers, t.Default)
	}
	t.Policies = telemetries(c, "tracing", (*telemetry.Telemetry).GetTracing, func(m *istio.Meta, b mesh.Bearing, in []*telemetry.Tracing) *mesh.TracePolicy {
		p := &mesh.TracePolicy{Bearing: b}
		for i, r := range in {
			p.Rules = append(p.Rules, c.traceRule(m, index("spec.tracing", i), r, providers, t.Default))
		}
		return p
	})
	if t.Default != nil || len(t.Policies) > 0 {
		c.world.Tracing = t
	}
}

// defaultTags are those of MeshConfig's defaultConfig.tracing.
func (c *compiler) defaultTags() []*mesh.TraceTag {
	tags := traceTags(istio.MeshTags(c.meshConfig().GetDefaultConfig().GetTracing()))
	if len(tags) > 0 {
		c.report(&c.set.Mesh.Meta, "data.mesh.defaultConfig.tracing.customTags", istio.Info, codeTracer,
			"custom tags are written by Envoy's own tracer, which makes the spans here", "")
	}
	return tags
}

func (c *compiler) traceRule(m *istio.Meta, path string, in *telemetry.Tracing, providers map[string]*mesh.TraceProvider, def *mesh.TraceProvider) *mesh.TraceRule {
	r := &mesh.TraceRule{}
	r.Client, r.Server = sides(in.GetMatch().GetMode())
	if v := in.GetRandomSamplingPercentage(); v != nil {
		p := v.GetValue()
		r.Sampling = &p
	}
	if v := in.GetDisableSpanReporting(); v != nil {
		b := v.GetValue()
		r.Disabled = &b
	}
	if v := in.GetUseRequestIdForTraceSampling(); v != nil {
		b := v.GetValue()
		r.UseRequestID = &b
	}
	if v := in.GetDisableContextPropagation(); v != nil {
		b := v.GetValue()
		r.NoContext = &b
	}
	if w, ok := m.Annotations[istio.AnnotationTracer]; ok {
		b := w == "envoy"
		r.Envoy = &b
	}
	if ps := in.GetProviders(); len(ps) > 0 {
		r.NamesProvider, r.Provider = true, providers[ps[0].GetName()]
		if r.Provider == nil {
			c.noProvider(m, path+".providers[0].name", ps[0].GetName(), providers)
		}
	}
	if tags := in.GetCustomTags(); tags != nil {
		r.NamesTags, r.Tags = true, traceTags(tags)
	}
	c.whoMakesSpans(m, path, r, cmp.Or(r.Provider, def))
	return r
}

// whoMakesSpans tells where Envoy's own tracer stands in for the filter, and what the filter leaves out.
func (c *compiler) whoMakesSpans(m *istio.Meta, path string, r *mesh.TraceRule, p *mesh.TraceProvider) {
	forced := r.Envoy != nil && !*r.Envoy
	if len(r.Tags) > 0 && r.Envoy == nil {
		c.report(m, path+".customTags", istio.Info, codeTracer,
			"custom tags are written by Envoy's own tracer, which makes the spans here", "")
	}
	if len(r.Tags) > 0 && forced {
		c.report(m, path+".customTags", istio.Warning, codeTracer,
			"the spans of Mizzen's filter have no custom tags: they are left out", "write mizzen.dev/tracer: envoy, or no such annotation")
	}
	if p == nil {
		return
	}
	if why, only := p.EnvoyOnly(); only && forced {
		c.report(m, path, istio.Warning, codeTracer,
			fmt.Sprintf("provider %s needs Envoy's own tracer (%s), which makes the spans here", p.Name, why), "remove annotation mizzen.dev/tracer")
	}
}

func (c *compiler) noProvider(m *istio.Meta, path, name string, providers map[string]*mesh.TraceProvider) {
	fix := "add it to MeshConfig's extensionProviders, as zipkin, opentelemetry, skywalking or datadog"
	if len(providers) > 0 {
		fix = "write one of " + strings.Join(slices.Sorted(maps.Keys(providers)), ", ")
	}
	c.report(m, path, istio.Error, codeNotFound, fmt.Sprintf("no tracing provider %q that exists and has a service: no spans are reported", name), fix)
}

func traceTags(in map[string]*telemetry.Tracing_CustomTag) []*mesh.TraceTag {
	var out []*mesh.TraceTag
	for _, name := range slices.Sorted(maps.Keys(in)) {
		t := &mesh.TraceTag{Name: name}
		switch k := in[name].GetType().(type) {
		case *telemetry.Tracing_CustomTag_Literal:
			t.Literal = k.Literal.GetValue()
		case *telemetry.Tracing_CustomTag_Environment:
			t.Environment, t.Default = k.Environment.GetName(), k.Environment.GetDefaultValue()
		case *telemetry.Tracing_CustomTag_Header:
			t.Header, t.Default = k.Header.GetName(), k.Header.GetDefaultValue()
		case *telemetry.Tracing_CustomTag_Formatter:
			t.Value = k.Formatter.GetValue()
		}
		out = append(out, t)
	}
	return out
}

// sides are the sides that a mode is about.
func sides(mode telemetry.WorkloadMode) (client, server bool) {
	return mode != telemetry.WorkloadMode_SERVER, mode != telemetry.WorkloadMode_CLIENT
}

// telemetries lowers one part of all Telemetries that have it, oldest first. part is what messages call it.
func telemetries[R any, P interface{ Scope() *mesh.Bearing }](
	c *compiler, part string, of func(*telemetry.Telemetry) []R, lower func(*istio.Meta, mesh.Bearing, []R) P,
) []P {
	var out []P
	for _, o := range c.set.Telemetries {
		in := of(o.Spec)
		if len(in) == 0 {
			continue
		}
		if b, ok := c.bearing(&o.Meta, o.Spec.GetSelector(), o.Spec.GetTargetRef(), o.Spec.GetTargetRefs()); ok {
			out = append(out, lower(&o.Meta, b, in))
			shadowed(c, &o.Meta, part, out)
		}
	}
	return out
}

// shadowed tells that an older Telemetry leaves a part of the last one without effect on its namespace or on a workload.
func shadowed[P interface{ Scope() *mesh.Bearing }](c *compiler, m *istio.Meta, part string, all []P) {
	p := all[len(all)-1].Scope()
	targeted := func(b *mesh.Bearing) bool { return len(b.Services)+len(b.Gateways) > 0 }
	for _, one := range all[:len(all)-1] {
		older := one.Scope()
		if older.Namespace != p.Namespace || (older.Selector == nil) != (p.Selector == nil) || targeted(older) || targeted(p) {
			continue
		}
		if p.Selector == nil {
			c.report(m, "", istio.Error, codeTelemetries,
				fmt.Sprintf("Telemetry %s/%s (%s) is older and stands for the whole namespace: the %s of this one has no effect",
					older.Namespace, older.Name, originAt(older.Origin), part), "give one of them a selector")
			return
		}
		if w := c.both(p.Namespace, older.Selector, p.Selector); w != "" {
			c.report(m, "spec.selector", istio.Error, codeTelemetryLabels,
				fmt.Sprintf("Telemetry %s/%s (%s) is older and selects %s too: the %s of this one has no effect there",
					older.Namespace, older.Name, originAt(older.Origin), w, part), "make the selectors exclude each other")
			return
		}
	}
}
