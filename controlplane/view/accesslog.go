package view

import (
	"cmp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// accessLogs gives the proxy's listeners the logs of the Telemetries in force there.
func (s *scope) accessLogs(v *mesh.View) {
	if s.cache.world.Logs == nil {
		return
	}
	client, server := s.logsOf(v.Node, false), s.logsOf(v.Node, true)
	for _, l := range v.Listeners {
		if l.Logs = client; serverSide(l) {
			l.Logs = server
		}
	}
}

// logState is what holds for one provider.
type logState struct {
	off    bool
	filter string
}

// logsOf are the logs of one side of a proxy. As in Istio the default providers come first; each level's rules are about the providers
// that they name, or about those before them; and a level that names some leaves those out that it does not name.
func (s *scope) logsOf(n mesh.Node, server bool) []*mesh.AccessLog {
	logs := s.cache.world.Logs
	now, state := logs.Default, map[*mesh.LogProvider]logState{}
	for _, i := range s.levels(n, len(logs.Policies), func(i int) *mesh.Bearing { return &logs.Policies[i].Bearing }) {
		var named []*mesh.LogProvider
		naming := false
		for _, r := range logs.Policies[i].Rules {
			if server && !r.Server || !server && !r.Client {
				continue
			}
			about := now
			if r.Named {
				about, naming = r.Providers, true
				named = append(named, about...)
			} else if naming {
				about = named
			}
			for _, p := range about {
				state[p] = logState{r.Disabled, r.Filter}
			}
		}
		if naming {
			now = named
		}
	}
	var out []*mesh.AccessLog
	for _, p := range now {
		if l := s.log(n, p, state[p], server); l != nil {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *mesh.AccessLog) int { return cmp.Compare(a.Provider.Name, b.Provider.Name) })
	return slices.CompactFunc(out, func(a, b *mesh.AccessLog) bool { return a.Provider == b.Provider })
}

// log is one log of a proxy; nil if it is off, or its service is not for this namespace to see, or if it would be about the very calls
// that bring it: an entry for every batch of entries would never end.
func (s *scope) log(n mesh.Node, p *mesh.LogProvider, state logState, server bool) *mesh.AccessLog {
	if state.off {
		return nil
	}
	out := &mesh.AccessLog{Provider: p, Filter: state.filter}
	if p.Kind == mesh.LogFile {
		return out
	}
	out.Cluster = mesh.OutboundCluster(p.Port, "", p.Hostname)
	if s.named[out.Cluster] == nil || server && s.cache.standsBefore(p.Hostname, n) {
		return nil
	}
	return out
}
