package istio

import (
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// validateProxyConfig checks an object of kind ProxyConfig.
func validateProxyConfig(o *Object[pc]) Diagnostics {
	v := &validator{meta: &o.Meta}
	v.labels("spec.selector.matchLabels", o.Spec.GetSelector().GetMatchLabels())
	v.notNegative("spec.concurrency", o.Spec.GetConcurrency().GetValue())
	v.variables("spec.environmentVariables", o.Spec.GetEnvironmentVariables())
	return v.diags
}

// variables checks names of environment variables.
func (v *validator) variables(path string, vars map[string]string) {
	for _, name := range sortedKeys(vars) {
		if !variableName(name) {
			v.fail(join(path, name), "is no name of an environment variable", "write letters, digits and _, a letter first")
		}
	}
}

func variableName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// proxyStart checks what of a ProxyConfig acts when a proxy is started.
func (v *validator) proxyStart(path string, c *meshconfig.ProxyConfig) {
	v.notNegative(path+".concurrency", c.GetConcurrency().GetValue())
	v.variables(path+".proxyMetadata", c.GetProxyMetadata())
	v.notNegative(path+".connectionSettings.globalDownstreamConnectionLimit", c.GetConnectionSettings().GetGlobalDownstreamConnectionLimit().GetValue())
	v.notBelowZero(path+".terminationDrainDuration", c.GetTerminationDrainDuration())
	v.positive(path+".fileFlushInterval", c.GetFileFlushInterval(), "leave it out")
	if d := c.GetDrainDuration(); d != nil && wholeSeconds(d) < 1 {
		v.fail(path+".drainDuration", "must be at least 1s, in whole seconds", "write 1s or more")
	}
	if a := c.GetStatsdUdpAddress(); a != "" {
		if _, err := netip.ParseAddrPort(a); err != nil {
			v.fail(path+".statsdUdpAddress", "must be IP:PORT: Envoy does not look the name up", "write for example 127.0.0.1:8125")
		}
	}
}

// wholeSeconds is 0 for a duration that has a fraction of one.
func wholeSeconds(d *durationpb.Duration) time.Duration {
	if d.AsDuration()%time.Second != 0 {
		return 0
	}
	return d.AsDuration() / time.Second
}
