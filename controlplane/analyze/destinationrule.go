package analyze

import (
	"fmt"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// destinationRules checks whether servers are known by more than their word.
func (a *analyzer) destinationRules() {
	for _, o := range a.set.DestinationRules {
		host := mesh.ResolveHost(o.Spec.GetHost(), o.Namespace, a.world.Settings.DomainSuffix)
		check := func(path string, p *networking.TrafficPolicy) {
			a.unverified(&o.Meta, path+".tls", codeUnverified, host, 0, p.GetTls())
			for i, s := range p.GetPortLevelSettings() {
				a.unverified(&o.Meta, fmt.Sprintf("%s.portLevelSettings[%d].tls", path, i), codeUnverifiedOn, host, s.GetPort().GetNumber(), s.GetTls())
			}
		}
		check("spec.trafficPolicy", o.Spec.GetTrafficPolicy())
		for i, s := range o.Spec.GetSubsets() {
			check(fmt.Sprintf("spec.subsets[%d].trafficPolicy", i), s.GetTrafficPolicy())
		}
	}
}

// unverified looks at the TLS to one host, or to one port of it. Without caCertificates the system's roots verify the certificate; of
// HTTP, the request's host says what name it must have.
func (a *analyzer) unverified(m *istio.Meta, path, code, host string, port uint32, t *networking.ClientTLSSettings) {
	mode := t.GetMode()
	if mode != networking.ClientTLSSettings_SIMPLE && mode != networking.ClientTLSSettings_MUTUAL {
		return
	}
	if t.GetInsecureSkipVerify().GetValue() {
		a.report(m, path+".insecureSkipVerify", istio.Warning, code,
			fmt.Sprintf("whoever answers for %s is believed: its certificate is not looked at", host), "name its roots in caCertificates")
		return
	}
	if len(t.GetSubjectAltNames()) > 0 {
		return
	}
	for _, s := range a.world.Services {
		if s.Hostname != host || len(s.SANs) > 0 {
			continue
		}
		for _, p := range s.Ports {
			if !p.Protocol.IsHTTP() && (port == 0 || port == p.Number) {
				a.report(m, path, istio.Warning, code,
					fmt.Sprintf("port %d of %s is no HTTP port, so no request says which name the server must have: a trusted certificate of any name passes", p.Number, host),
					"add subjectAltNames: ["+host+"]")
				return
			}
		}
	}
}

// subsets finds policies that no traffic is under.
func (a *analyzer) subsets() {
	named := a.namedSubsets()
	for _, p := range a.world.Policies {
		for _, s := range p.Subsets {
			if s.Traffic == nil {
				continue
			}
			used := false
			for host := range named[s.Name] {
				used = used || mesh.HostCovers(p.Hostname, host)
			}
			if !used {
				a.reportAt(s.Origin, istio.Warning, codeDeadSubset,
					fmt.Sprintf("no route leads to subset %s of %s: its trafficPolicy is never in force", s.Name, p.Hostname),
					"name the subset in a VirtualService, or write the policy for the whole host")
			}
		}
	}
}

// namedSubsets are the hosts of routes by the subset that they name.
func (a *analyzer) namedSubsets() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	add := func(d *mesh.Destination) {
		if out[d.Subset] == nil {
			out[d.Subset] = map[string]bool{}
		}
		out[d.Subset][d.Hostname] = true
	}
	for _, r := range a.world.Rules {
		for _, route := range r.Routes {
			for _, d := range route.Destinations {
				add(d)
			}
			for _, m := range route.Mirrors {
				add(&m.Destination)
			}
		}
		for _, routes := range [][]*mesh.L4Route{r.TCP, r.TLS} {
			for _, route := range routes {
				for _, d := range route.Destinations {
					add(d)
				}
			}
		}
	}
	for _, s := range a.world.Sidecars {
		if s.EgressProxy != nil {
			add(s.EgressProxy)
		}
	}
	return out
}

// failovers finds those that never happen.
func (a *analyzer) failovers() {
	for _, p := range a.world.Policies {
		a.failover(p.Traffic, p.Origin)
		for _, s := range p.Subsets {
			if s.Traffic != nil && (p.Traffic == nil || s.Traffic.LoadBalancer != p.Traffic.LoadBalancer) {
				a.failover(s.Traffic, s.Origin)
			}
		}
	}
}

func (a *analyzer) failover(t *mesh.Traffic, at mesh.Origin) {
	if t == nil || t.LoadBalancer == nil || t.LoadBalancer.Locality == nil || t.Outlier != nil {
		return
	}
	l := t.LoadBalancer.Locality
	if !l.Off && !l.Zones && len(l.Distribute) == 0 && len(l.Failover)+len(l.Priority) > 0 {
		a.reportAt(at, istio.Warning, codeNoFailover,
			"without outlierDetection nothing is ever taken for failed: the failover has no effect", "add outlierDetection: {maxEjectionPercent: 100}")
	}
}

// peers finds clients that speak another way than the workloads' PeerAuthentication takes.
func (a *analyzer) peers() {
	if len(a.world.Peers) == 0 {
		return
	}
	for _, p := range a.world.Policies {
		for _, s := range a.world.Services {
			if s.Selector == nil || !mesh.HostCovers(p.Hostname, s.Hostname) {
				continue
			}
			a.refused(p.Traffic, s, nil, p.Origin)
			for _, sub := range p.Subsets {
				if sub.Traffic != nil && (p.Traffic == nil || sub.Traffic.TLS != p.Traffic.TLS) {
					a.refused(sub.Traffic, s, sub.Labels, sub.Origin)
				}
			}
		}
	}
}

// refused tells of the first port of a service on which a client would not be let in.
func (a *analyzer) refused(t *mesh.Traffic, s *mesh.Service, labels map[string]string, at mesh.Origin) {
	for _, p := range s.Ports {
		tls := (*mesh.ClientTLS)(nil)
		if on := t.ForPort(p.Number); on != nil {
			tls = on.TLS
		}
		if tls == nil {
			continue
		}
		for _, x := range a.templates {
			if x.meta.Namespace != s.Namespace || !mesh.Selects(s.Selector, x.labels) || !mesh.Selects(labels, x.labels) || optedOut(x.labels, x.annotations) {
				continue
			}
			mode := mesh.PeerModesOf(a.world.Peers, a.world.Settings.RootNamespace, s.Namespace, x.labels).On(p.TargetPort)
			strict, plain := mode == mesh.PeerStrict, mode == mesh.PeerDisable
			if strict && tls.Mode != mesh.TLSIstioMutual || plain && tls.Mode == mesh.TLSIstioMutual {
				a.reportAt(at, istio.Error, codeRefused,
					fmt.Sprintf("tls mode %s, and port %d of %s takes mtls mode %s by its PeerAuthentication: every connection fails", tls.Mode, p.Number, s.Hostname, mode),
					"take tls away: Mizzen then finds out what the workload takes")
				return
			}
		}
	}
}
