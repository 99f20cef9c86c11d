package conformance

import (
	"regexp"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	hostgolang "github.com/mizzen-mesh/mizzen/filters/host/golang"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/golanghost/harness"
)

// golanghost is a stock Envoy with the library for contrib's golang filter, through the module of that name.
type golanghost struct{}

func (golanghost) name() string                            { return "golanghost" }
func (golanghost) refuses(c *conformance.Case) string      { return c.Not["golang"] }
func (golanghost) sees(a conformance.Aspect) bool          { return a != conformance.SeesTime }
func (golanghost) flags(l logLine) []string                { return split(l.Metadata["flags"]) }
func (golanghost) annotations(l logLine) map[string]string { return l.Metadata }

const golangLibrary = "libmizzen-golang.so"

// module builds both libraries.
func (golanghost) module(t testing.TB) string {
	t.Helper()
	envoytest.BuildModule(t, "filters/cmd/golang", "mizzen-golang")
	so, err := harness.Module()
	if err != nil {
		envoytest.Missing(t, err)
	}
	return so
}

func golangConfig(kind, id string, config []byte) obj {
	out := moduleConfig(kind, id, config)
	out["dynamic_module_config"].(obj)["name"] = "golanghost"
	out["filter_name"] = "mizzen@" + golangLibrary
	return out
}

func (golanghost) filters(c *conformance.Case, id string) list {
	return list{obj{"name": "mizzen", "typed_config": golangConfig("DynamicModuleFilter", id, c.Config)}}
}

// routes: what canary chooses says in its metadata what holds from there on.
func (golanghost) routes(c *conformance.Case, id string) list {
	return routes(c, func(route obj, config []byte) {
		route["typed_per_filter_config"] = obj{"mizzen": golangConfig("DynamicModuleFilterPerRoute", id, config)}
		metadata(route)[hostgolang.ConfigKey] = string(config)
	})
}

// stat: contrib fixes no names, so a series is the value of a label.
func (golanghost) stat(id, series string) string {
	name, labels, err := golangSeries(series)
	if err != nil {
		return "^$"
	}
	return `(^|\.)` + id + `\.golang_(counter|gauge)\.name\.mizzen\.` + regexp.QuoteMeta(name+labels) + `$`
}
