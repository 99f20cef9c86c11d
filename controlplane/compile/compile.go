// Package compile turns decoded configuration into the model: names resolved, defaults filled in, rules merged. It is
// pure: no clock, logger, context or global. A user's mistake becomes a diagnostic and never breaks the rest.
package compile

import (
	"cmp"
	"slices"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Inputs is what World is made of.
type Inputs struct {
	Set istio.Set
	// RootNamespace holds mesh-wide objects; "" is MeshConfig's rootNamespace, or "istio-system".
	RootNamespace string
	// DomainSuffix of cluster names; "" is "cluster.local".
	DomainSuffix string
	// TrustDomain of the mesh's identities, which is its certificate authority's; "" is MeshConfig's trustDomain, or "cluster.local".
	TrustDomain string
	// RateLimit is the "host:port" of the rate-limit service, "off" if there is none; "": service ratelimit of the root
	// namespace, if it exists.
	RateLimit string
	// RateLimitTimeout of a call; 0: the filter's default.
	RateLimitTimeout time.Duration
	// ModuleServer is the "host:port" where proxies fetch the modules of plugins; "": they cannot.
	ModuleServer string
}

// World compiles everything. The order of the input's lists does not matter. The World is never nil; an object with an
// error is left out, or the part of it that is wrong, and a diagnostic says so.
func World(in Inputs) (*mesh.World, istio.Diagnostics) {
	in.Set = discovered(in)
	return newCompiler(in).run(in)
}

func newCompiler(in Inputs) *compiler {
	return &compiler{set: sorted(in.Set), world: &mesh.World{}, scanned: map[istio.Ref]bool{}, namespaceLabels: labelsOf(in.Set)}
}

func (c *compiler) run(in Inputs) (*mesh.World, istio.Diagnostics) {
	c.world.Settings = c.settings(in)
	c.workloads()
	c.indexWorkloads()
	c.peers()
	c.services()
	c.serviceEntries()
	c.autoAddresses()
	c.endpoints()
	c.index()
	c.gateways()
	c.secrets()
	c.sidecars()
	c.destinationRules()
	c.virtualServices()
	c.limitService(in)
	c.rateLimits()
	c.telemetries()
	c.accessLogs()
	c.metrics()
	c.authz()
	c.envoyFilters()
	c.extensions()
	c.claimRoutes()
	c.analyze()
	c.diags.Sort()
	return c.world, slices.CompactFunc(c.diags, func(a, b istio.Diagnostic) bool { return a == b })
}

// compiler holds one run of World.
type compiler struct {
	set   istio.Set
	world *mesh.World
	diags istio.Diagnostics

	byHost   map[string][]*mesh.Service // by Hostname, see index
	labelled map[label][]*mesh.Workload // see indexWorkloads
	policies map[string][]*mesh.Policy  // by Hostname
	// namespaceLabels are those of a namespace.
	namespaceLabels func(namespace string) map[string]string
	rules           []*rule // world.Rules with the objects they came from

	// all gives the services of the whole mesh where this compiler has but some; nil: it has all.
	all func(mine []*mesh.Service) []*mesh.Service
	// scanned are the objects of which a diagnostic needed them, see everyService.
	scanned  map[istio.Ref]bool
	scanning bool
	modes    map[*mesh.Workload]mesh.PeerModes
}

// index makes host lookups quick once all services stand.
func (c *compiler) index() {
	slices.SortStableFunc(c.world.Services, compareServices)
	c.byHost = map[string][]*mesh.Service{}
	for _, s := range c.world.Services {
		c.byHost[s.Hostname] = append(c.byHost[s.Hostname], s)
	}
}

func compareServices(a, b *mesh.Service) int {
	return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Namespace, b.Namespace))
}

// everyService is every service of the mesh, for a diagnostic that suggests one. The object of the next report depends on them all.
func (c *compiler) everyService() []*mesh.Service {
	c.scanning = true
	if c.all != nil {
		return c.all(c.world.Services)
	}
	return c.world.Services
}

// report adds a diagnostic about one place of an object.
func (c *compiler) report(m *istio.Meta, path string, sev istio.Severity, code, message, fix string) {
	if c.scanning {
		c.scanned[m.Ref], c.scanning = true, false
	}
	c.diags = append(c.diags, istio.Diagnostic{
		Code: code, Severity: sev, Object: m.Ref, Position: m.At(path), Path: path, Message: message, Fix: fix,
	})
}

// origin names the place of an object that a part came from.
func origin(m *istio.Meta, path string) mesh.Origin {
	pos := m.At(path)
	return mesh.Origin{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, File: pos.File, Line: pos.Line}
}

// originAt is origin as a diagnostic's fix or message names it: "file:line", or the object's name without a file.
func originAt(o mesh.Origin) string {
	if p := (istio.Position{File: o.File, Line: o.Line}).String(); p != "" {
		return p
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

func sorted(s istio.Set) istio.Set {
	s.VirtualServices = byPrecedence(s.VirtualServices)
	s.DestinationRules = byPrecedence(s.DestinationRules)
	s.Gateways = byPrecedence(s.Gateways)
	s.ServiceEntries = byPrecedence(s.ServiceEntries)
	s.Sidecars = byPrecedence(s.Sidecars)
	s.Telemetries = byPrecedence(s.Telemetries)
	s.AuthorizationPolicies = byPrecedence(s.AuthorizationPolicies)
	s.RequestAuthentications = byPrecedence(s.RequestAuthentications)
	s.PeerAuthentications = byPrecedence(s.PeerAuthentications)
	s.WorkloadEntries = byName(s.WorkloadEntries)
	s.RateLimits = byName(s.RateLimits)
	s.Services = byName(s.Services)
	s.Secrets = byName(s.Secrets)
	s.Pods = byName(s.Pods)
	s.Endpoints = byName(s.Endpoints)
	s.EndpointSlices = byName(s.EndpointSlices)
	s.Workloads = byName(s.Workloads)
	return s
}

// byPrecedence orders as Istio does: the oldest first, then by name, then by namespace.
func byPrecedence[T any](in []*istio.Object[T]) []*istio.Object[T] {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b *istio.Object[T]) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
	})
	return out
}

func byName[T any](in []*istio.Object[T]) []*istio.Object[T] {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b *istio.Object[T]) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}
