package view

import (
	"cmp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// metrics has the proxy's listeners count what the Telemetries in force there say.
func (s *scope) metrics(v *mesh.View) {
	if s.cache.world.Metrics == nil {
		return
	}
	client, server := s.metricsOf(v.Node, false), s.metricsOf(v.Node, true)
	for _, l := range v.Listeners {
		if l.Metrics = client; serverSide(l) {
			l.Metrics = server
		}
	}
}

// metricsOf are the metrics of one side of a proxy; nil if there are none. Each level's overrides come over those before; a level that
// names providers says whether Prometheus is among them.
func (s *scope) metricsOf(n mesh.Node, server bool) *mesh.MetricSet {
	world := s.cache.world.Metrics
	on := world.Default
	off, tags := map[string]bool{}, map[string]map[string]*mesh.MetricTag{}
	for _, i := range s.levels(n, len(world.Policies), func(i int) *mesh.Bearing { return &world.Policies[i].Bearing }) {
		rules := world.Policies[i].Rules
		if slices.ContainsFunc(rules, func(r *mesh.MetricRule) bool { return r.Named }) {
			on = slices.ContainsFunc(rules, func(r *mesh.MetricRule) bool { return r.Prometheus })
		}
		for _, r := range rules {
			if r.Named && !r.Prometheus {
				continue
			}
			for _, o := range r.Overrides {
				if server && !o.Server || !server && !o.Client {
					continue
				}
				override(o, off, tags)
			}
		}
	}
	if !on {
		return nil
	}
	out := &mesh.MetricSet{Server: server, Self: nodeName(n)}
	for _, name := range mesh.StandardMetrics() {
		if off[name] {
			continue
		}
		m := &mesh.Metric{Name: name}
		for _, t := range tags[name] {
			m.Tags = append(m.Tags, t)
		}
		slices.SortFunc(m.Tags, func(a, b *mesh.MetricTag) int { return cmp.Compare(a.Name, b.Name) })
		out.Metrics = append(out.Metrics, m)
	}
	if len(out.Metrics) == 0 {
		return nil
	}
	return out
}

// override notes what an override says of each metric that it is about.
func override(o *mesh.MetricOverride, off map[string]bool, tags map[string]map[string]*mesh.MetricTag) {
	for _, name := range mesh.StandardMetrics() {
		if o.Metric != "" && o.Metric != name {
			continue
		}
		if o.Disabled != nil {
			off[name] = *o.Disabled
		}
		for _, t := range o.Tags {
			if tags[name] == nil {
				tags[name] = map[string]*mesh.MetricTag{}
			}
			tags[name][t.Name] = t
		}
	}
}

// nodeName is how metrics call a proxy's workload.
func nodeName(n mesh.Node) mesh.WorkloadName {
	out := mesh.NameOf(n.Name, n.Namespace, n.Labels)
	out.Workload = cmp.Or(n.Metadata["WORKLOAD_NAME"], out.Workload)
	out.Cluster = cmp.Or(n.Metadata["CLUSTER_ID"], out.Cluster)
	return out
}
