package conformance

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// dynmod is a stock Envoy with Mizzen's dynamic module.
type dynmod struct{}

func (dynmod) name() string                     { return "dynmod" }
func (dynmod) refuses(*conformance.Case) string { return "" }
func (dynmod) sees(a conformance.Aspect) bool   { return a != conformance.SeesTime }
func (dynmod) module(t testing.TB) string       { return envoytest.Module(t) }

func (dynmod) flags(l logLine) []string                { return split(l.CustomFlags) }
func (dynmod) annotations(l logLine) map[string]string { return l.Metadata }

func moduleConfig(kind, id string, config []byte) obj {
	if config == nil {
		config = []byte("{}")
	}
	return obj{
		"@type":                 "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3." + kind,
		"dynamic_module_config": obj{"name": "mizzen", "do_not_close": true, "metrics_namespace": id},
		"filter_name":           "mizzen",
		"filter_config":         obj{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": string(config)},
	}
}

func (dynmod) filters(c *conformance.Case, id string) list {
	return list{obj{"name": "mizzen", "typed_config": moduleConfig("DynamicModuleFilter", id, c.Config)}}
}

func (dynmod) routes(c *conformance.Case, id string) list {
	return routes(c, func(route obj, config []byte) {
		route["typed_per_filter_config"] = obj{"mizzen": moduleConfig("DynamicModuleFilterPerRoute", id, config)}
	})
}

// routes is the table of a case; configure gives a route its own level.
func routes(c *conformance.Case, configure func(route obj, config []byte)) (out list) {
	for _, r := range c.Routes {
		match := obj{"prefix": "/"}
		if r.Prefix != "" {
			match["prefix"] = r.Prefix
		}
		if r.Token != "" {
			match["headers"] = list{obj{"name": "x-mizzen-route", "string_match": obj{"exact": r.Token}}}
		}
		route := obj{"name": r.Name, "match": match, "route": obj{"cluster": r.Cluster}}
		if r.Config != nil {
			configure(route, r.Config)
		}
		out = append(out, route)
	}
	return append(out,
		obj{"name": "by-cluster", "match": obj{"prefix": "/", "headers": list{obj{"name": "x-mizzen-cluster", "present_match": true}}},
			"route": obj{"cluster_header": "x-mizzen-cluster"}},
		obj{"name": "default", "match": obj{"prefix": "/"}, "route": obj{"cluster": "default"}})
}

// stat: dynamicmodulescustom.c7.name.label.value...
func (dynmod) stat(id, series string) string {
	name, labels := parts(series)
	for _, l := range labels {
		name += `\.[a-z]+\.` + l
	}
	return strings.Join([]string{`(^|\.)`, id, `\.`, name, `$`}, "")
}
