package run

import (
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// HostFindings tells what of the world proxies cannot do that run the policies in h, or do with a difference. Each diagnostic
// names the object, the field and what to do.
func HostFindings(w *mesh.World, h mesh.FilterHost) istio.Diagnostics {
	f := &findings{world: w}
	switch h {
	case mesh.HostNative:
		f.native()
	case mesh.HostWasm:
		f.wasm()
	case mesh.HostGolang:
		f.golang()
	}
	f.out.Sort()
	return f.out
}

type findings struct {
	world *mesh.World
	out   istio.Diagnostics
}

func (f *findings) add(o mesh.Origin, path, code, message, fix string) {
	f.out = append(f.out, istio.Diagnostic{
		Code: code, Severity: istio.Warning, Path: path, Message: message, Fix: fix,
		Object:   istio.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name},
		Position: istio.Position{File: o.File, Line: o.Line},
	})
}

const useModule = "run these proxies with --filters dynamic-module"

func (f *findings) native() {
	for _, r := range f.world.Rules {
		if c := r.Canary; c != nil && c.ResponseHeader != "" {
			f.add(r.Origin, "metadata.annotations[mizzen.dev/decision-header]", CodeNativeLeftOut,
				"without Mizzen's filter no header tells the decision", useModule)
		}
		if c := r.Canary; c != nil && c.Lane != nil {
			f.add(r.Origin, "metadata.annotations", CodeNativeLeftOut, "without Mizzen's filter a lane is neither followed nor begun", useModule)
		}
		if slices.ContainsFunc(r.Routes, func(r *mesh.Route) bool { return len(r.Steps) > 0 }) {
			f.add(r.Origin, "metadata.annotations[mizzen.dev/steps]", CodeNativeLeftOut, "without Mizzen's filter weights stay as the routes say", useModule)
		}
		for i, route := range r.Routes {
			f.nativeRoute(r, route, fmt.Sprintf("spec.http[%d]", i))
		}
	}
	for _, l := range f.world.Limits {
		f.nativeLimits(l)
	}
	f.ownTracer("in a proxy without Mizzen's filter")
}

// golang: Mizzen's code makes no calls there.
func (f *findings) golang() {
	for _, l := range f.world.Limits {
		for i, limit := range l.Config.Limits {
			if limit.Scope == ratelimit.ScopeGlobal && f.world.Settings.LimitService != nil {
				f.add(l.Origin, fmt.Sprintf("spec.limits[%d]", i), CodeHostDiffers,
					"a proxy that runs the golang library does not ask the rate-limit service: the limit's failureMode decides, as while that is away", useModule)
			}
		}
	}
	f.ownTracer("in a proxy that runs the golang library")
}

// ownTracer: a provider has spans all the same, by Envoy's own tracer.
func (f *findings) ownTracer(where string) {
	if f.world.Tracing == nil {
		return
	}
	for _, p := range f.world.Tracing.Policies {
		for i, r := range p.Rules {
			if own := r.Provider != nil && (r.Envoy == nil || !*r.Envoy); own {
				f.add(p.Origin, fmt.Sprintf("spec.tracing[%d]", i), CodeHostDiffers,
					where+" Envoy's own tracer makes the spans, and trace headers of its own format only", useModule)
			}
		}
	}
}

func (f *findings) nativeLimits(l *mesh.LimitPolicy) {
	c := l.Config
	if f.world.Settings.LimitService != nil { // which Envoy's own filter asks, too
		c.Global = &ratelimit.Global{Cluster: mesh.LimitCluster}
	}
	_, refused := native.Limits(&c, "mizzen")
	_, open := native.Global(&c, false)
	_, deny := native.Global(&c, true)
	for _, r := range slices.Concat(refused, open, deny) {
		path := fmt.Sprintf("spec.limits[%d]", r.Index)
		if r.Kept {
			f.add(l.Origin, path, CodeHostDiffers, "in a proxy without Mizzen's filter: "+r.Why.Error(), useModule)
		} else {
			f.add(l.Origin, path, CodeNativeLeftOut, "a proxy without Mizzen's filter leaves the limit out: "+r.Why.Error(), useModule)
		}
	}
}

func (f *findings) nativeRoute(r *mesh.HostRules, route *mesh.Route, path string) {
	if route.Fault != nil {
		if _, err := native.Fault(route.Fault, &fault.Config{}); err != nil {
			f.add(route.Origin, path+".fault", CodeNativeLeftOut, "a proxy without Mizzen's filter leaves the fault out: "+err.Error(), useModule)
		}
	}
	sides := 0
	for _, d := range route.Destinations {
		if d.Weight > 0 {
			sides++
		}
	}
	if route.Sticky == nil || sides < 2 {
		return
	}
	switch _, err := native.Sticky(route.Sticky); {
	case err != nil:
		f.add(r.Origin, "metadata.annotations[mizzen.dev/sticky]", CodeNativeLeftOut, "a proxy without Mizzen's filter draws a side for each request: "+err.Error(), useModule)
	case f.hashed(route):
		f.add(r.Origin, "metadata.annotations[mizzen.dev/sticky]", CodeNativeLeftOut,
			"a proxy without Mizzen's filter draws a side for each request: Envoy has one hash for the side and the endpoint, and a DestinationRule's consistentHash has it", useModule)
	case sides > 2:
		f.add(r.Origin, "metadata.annotations[mizzen.dev/sticky]", CodeHostDiffers,
			"in a proxy without Mizzen's filter a change of weights among three or more destinations moves users between all of them", useModule)
	}
}

// hashed tells whether a DestinationRule of one of the route's destinations hashes.
func (f *findings) hashed(route *mesh.Route) bool {
	hashes := func(t *mesh.Traffic) bool {
		return t != nil && t.LoadBalancer != nil && t.LoadBalancer.Hash != nil
	}
	for _, d := range route.Destinations {
		for _, p := range f.world.Policies {
			if p.Hostname != d.Hostname {
				continue
			}
			if hashes(p.Traffic) {
				return true
			}
			for _, s := range p.Subsets {
				if s.Name == d.Subset && hashes(s.Traffic) {
					return true
				}
			}
		}
	}
	return false
}

// wasm: every worker of Envoy has a VM of its own, and nothing is shared among them.
func (f *findings) wasm() {
	for _, l := range f.world.Limits {
		for i := range l.Config.Limits {
			f.add(l.Origin, fmt.Sprintf("spec.limits[%d]", i), CodeHostDiffers,
				"in proxies that run wasm each of Envoy's workers counts for itself", "start these with --concurrency 1, as mizzen up does, or divide the numbers by their workers")
		}
	}
}
