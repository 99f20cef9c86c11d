package istio

import (
	"fmt"
	"regexp"

	meshconfig "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio/cel"
)

// AnnotationTracer of a Telemetry says who makes the spans: "mizzen", the filter, which is the default, or "envoy".
const AnnotationTracer = "mizzen.dev/tracer"

func validateTelemetry(o *Object[tel]) Diagnostics {
	v := &validator{meta: &o.Meta}
	v.policyScope(o.Spec.GetSelector(), o.Spec.GetTargetRef(), o.Spec.GetTargetRefs())
	for i, l := range o.Spec.GetAccessLogging() {
		v.accessLogging(index("spec.accessLogging", i), l)
	}
	for i, m := range o.Spec.GetMetrics() {
		v.metrics(index("spec.metrics", i), m)
	}
	if w, ok := o.Annotations[AnnotationTracer]; ok && w != "mizzen" && w != "envoy" {
		v.fail(join("metadata.annotations", AnnotationTracer), fmt.Sprintf("%q makes no spans", w), "write mizzen or envoy")
	}
	for i, t := range o.Spec.GetTracing() {
		path := index("spec.tracing", i)
		if len(t.GetProviders()) > 1 {
			v.trap(index(path+".providers", 1), "of several providers only the first is asked, as in Istio", "keep one")
		}
		for j, p := range t.GetProviders() {
			v.required(index(path+".providers", j)+".name", p.GetName())
		}
		if p := t.GetRandomSamplingPercentage(); p != nil && !(p.GetValue() >= 0 && p.GetValue() <= 100) {
			v.fail(path+".randomSamplingPercentage", fmt.Sprintf("must be 0 to 100, got %v", p.GetValue()), "")
		}
		for _, name := range sortedKeys(t.GetCustomTags()) {
			v.customTag(join(path+".customTags", name), t.GetCustomTags()[name])
		}
	}
	return v.diags
}

func (v *validator) customTag(path string, t *telemetry.Tracing_CustomTag) {
	switch k := t.GetType().(type) {
	case *telemetry.Tracing_CustomTag_Literal:
		v.required(path+".literal.value", k.Literal.GetValue())
	case *telemetry.Tracing_CustomTag_Environment:
		v.required(path+".environment.name", k.Environment.GetName())
	case *telemetry.Tracing_CustomTag_Header:
		if v.required(path+".header.name", k.Header.GetName()) && !headerName(k.Header.GetName()) {
			v.fail(path+".header.name", fmt.Sprintf("%q is not a header's name", k.Header.GetName()), "")
		}
	case *telemetry.Tracing_CustomTag_Formatter:
		v.required(path+".formatter.value", k.Formatter.GetValue())
	default:
		v.fail(path, "says nothing", "write literal, environment, header or formatter")
	}
}

// MeshTags are the custom tags of MeshConfig's defaultConfig.tracing, as a Telemetry has them.
func MeshTags(in *meshconfig.Tracing) map[string]*telemetry.Tracing_CustomTag {
	out := map[string]*telemetry.Tracing_CustomTag{}
	for name, t := range in.GetCustomTags() {
		tag := &telemetry.Tracing_CustomTag{}
		switch k := t.GetType().(type) {
		case *meshconfig.Tracing_CustomTag_Literal:
			tag.Type = &telemetry.Tracing_CustomTag_Literal{Literal: &telemetry.Tracing_Literal{Value: k.Literal.GetValue()}}
		case *meshconfig.Tracing_CustomTag_Environment:
			tag.Type = &telemetry.Tracing_CustomTag_Environment{Environment: &telemetry.Tracing_Environment{Name: k.Environment.GetName(), DefaultValue: k.Environment.GetDefaultValue()}}
		case *meshconfig.Tracing_CustomTag_Header:
			tag.Type = &telemetry.Tracing_CustomTag_Header{Header: &telemetry.Tracing_RequestHeader{Name: k.Header.GetName(), DefaultValue: k.Header.GetDefaultValue()}}
		}
		out[name] = tag
	}
	return out
}

// validateProviders checks MeshConfig's tracing and log providers, and the tags that spans have by default.
func validateProviders(m *Meta, spec *meshconfig.MeshConfig) Diagnostics {
	v := &validator{meta: m}
	tags := MeshTags(spec.GetDefaultConfig().GetTracing())
	for _, name := range sortedKeys(tags) {
		v.customTag(join("data.mesh.defaultConfig.tracing.customTags", name), tags[name])
	}
	seen := map[string]bool{}
	for i, p := range spec.GetExtensionProviders() {
		path := index("data.mesh.extensionProviders", i)
		if v.required(path+".name", p.GetName()) && seen[p.GetName()] {
			v.fail(path+".name", fmt.Sprintf("a second provider %q; the first one counts", p.GetName()), "name them apart")
		}
		seen[p.GetName()] = true
		v.logProvider(path, p)
		if z := p.GetZipkin(); z != nil {
			v.required(path+".zipkin.service", z.GetService())
			v.port(path+".zipkin.port", z.GetPort())
		}
		if o := p.GetOpentelemetry(); o != nil {
			v.required(path+".opentelemetry.service", o.GetService())
			v.port(path+".opentelemetry.port", o.GetPort())
		}
		if w := p.GetSkywalking(); w != nil {
			v.logService(path+".skywalking", w.GetService(), w.GetPort())
		}
		if d := p.GetDatadog(); d != nil {
			v.logService(path+".datadog", d.GetService(), d.GetPort())
		}
	}
	for i, name := range spec.GetDefaultProviders().GetTracing() {
		if path := index("data.mesh.defaultProviders.tracing", i); !seen[name] {
			v.fail(path, fmt.Sprintf("no extension provider is called %q", name), "add it to extensionProviders")
		} else if i == 1 {
			v.trap(path, "of several default providers only the first is asked, as in Istio", "keep one")
		}
	}
	return v.diags
}

// metrics checks one entry of a Telemetry's metrics.
func (v *validator) metrics(path string, in *telemetry.Metrics) {
	for i, p := range in.GetProviders() {
		v.required(index(path+".providers", i)+".name", p.GetName())
	}
	for i, o := range in.GetOverrides() {
		path := index(path+".overrides", i) + ".tagOverrides"
		for _, name := range sortedKeys(o.GetTagOverrides()) {
			v.tagOverride(join(path, name), name, o.GetTagOverrides()[name])
		}
	}
}

func (v *validator) tagOverride(path, name string, t *telemetry.MetricsOverrides_TagOverride) {
	if !regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(name) {
		v.fail(path, fmt.Sprintf("%q is not a label's name to Prometheus", name), "write letters, digits and _")
	}
	if t.GetOperation() == telemetry.MetricsOverrides_TagOverride_REMOVE {
		if t.GetValue() != "" {
			v.fail(path+".value", "REMOVE takes no value", "write UPSERT, or no value")
		}
		return
	}
	if !v.required(path+".value", t.GetValue()) {
		return
	}
	if _, err := cel.Format(t.GetValue()); err != nil {
		v.fail(path+".value", err.Error(), err.Fix)
	}
}
