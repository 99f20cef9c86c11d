package xdsgen

import (
	"fmt"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
)

// firstHosts bounds, in seconds, how long a new listener waits for the first virtual host of its table.
const firstHosts = 10

// maxDirectBody is Istio's limit on the body of a direct response, in bytes.
const maxDirectBody = 1 << 20

// tableInput is all that a route table is made of.
type tableInput struct {
	Table *mesh.RouteTable
	tableContext
}

// tableContext is what a table takes from its proxy and mesh.
type tableContext struct {
	Host    mesh.FilterHost // what runs the policies in the proxy
	Retries *mesh.Retries   // of routes that say nothing
	headerContext
}

// headerContext is what a proxy does with headers of its own, see mesh.Proxy.
type headerContext struct{ NoAttemptCount, ForwardedHost bool }

func newTableContext(n mesh.Node, s mesh.Settings) tableContext {
	out := tableContext{Host: n.Host(), Retries: s.DefaultRetries}
	if p := s.Proxy; p != nil {
		out.headerContext = headerContext{p.NoAttemptCount, p.ForwardedHost}
	}
	return out
}

// hostInput is all that a virtual host travelling alone is made of.
type hostInput struct {
	Host  *mesh.VirtualHost
	Scope scope
}

// scope is what a virtual host takes from its table.
type scope struct {
	Table   string
	Inbound bool
	Host    mesh.FilterHost
	Retries *mesh.Retries
	headerContext
}

func newScope(in tableInput) scope {
	return scope{Table: in.Table.Name, Inbound: in.Table.Inbound, Host: in.Host, Retries: in.Retries, headerContext: in.headerContext}
}

// splits tells whether the table's virtual hosts travel one by one: all but those that never have a virtual host beside the
// catch-all. It is the same for a table however many it has: Envoy must never lose a table's vhds, see TestTableEmptiesAndFills.
func splits(t *mesh.RouteTable) bool { return !t.Inbound && !t.Own }

// buildEmptyHost makes the mesh.EmptyHost of a table.
func buildEmptyHost(table string) (*Resource, error) {
	v := &routev3.VirtualHost{Name: table + "/" + mesh.EmptyHost, Domains: []string{"none.invalid"}}
	r, err := resource(v.Name, v)
	if err != nil {
		return nil, err
	}
	r.Table = table
	return r, nil
}

// routeTable is the part that both forms share. The internal headers never leave the proxy.
func routeTable(t *mesh.RouteTable) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name:                           t.Name,
		ValidateClusters:               wrapperspb.Bool(false),
		MaxDirectResponseBodySizeBytes: wrapperspb.UInt32(maxDirectBody),
		IgnorePortInHostMatching:       t.Gateway || t.Inbound,
		RequestHeadersToRemove:         []string{canary.RouteHeader, canary.ClusterHeader},
	}
}

// buildInlineTable makes the RouteConfiguration with every virtual host inside.
func buildInlineTable(in tableInput) (*Resource, error) {
	return finishTable(in, routeTable(in.Table), in.Table.VirtualHosts)
}

// buildFrame makes the RouteConfiguration whose virtual hosts follow one by one.
func buildFrame(in tableInput) (*Resource, error) {
	out := routeTable(in.Table)
	source := adsSource()
	// A new listener takes no traffic until its table's first virtual host has come. If the control plane goes away at
	// just that moment, it opens after this time and answers 404.
	source.InitialFetchTimeout = seconds(firstHosts)
	out.Vhds = &routev3.Vhds{ConfigSource: source}
	return finishTable(in, out, nil)
}

func finishTable(in tableInput, out *routev3.RouteConfiguration, hosts []*mesh.VirtualHost) (*Resource, error) {
	if in.Table.CatchAll != nil {
		hosts = append(append([]*mesh.VirtualHost(nil), hosts...), in.Table.CatchAll)
	}
	var clusters []string
	var origins []mesh.Origin
	for _, h := range hosts {
		v, used, err := virtualHost(h, newScope(in))
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", in.Table.Name, err)
		}
		out.VirtualHosts = append(out.VirtualHosts, v)
		clusters, origins = append(clusters, used...), append(origins, h.Origins...)
	}
	r, err := resource(in.Table.Name, out)
	if err != nil {
		return nil, err
	}
	r.Clusters, r.Origins = sortedSet(clusters), origins
	return r, nil
}

// buildVirtualHost makes a virtual host that travels alone. Envoy takes the table from the name.
func buildVirtualHost(in hostInput) (*Resource, error) {
	v, clusters, err := virtualHost(in.Host, in.Scope)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", in.Scope.Table, err)
	}
	v.Name = in.Scope.Table + "/" + in.Host.Name
	r, err := resource(v.Name, v)
	if err != nil {
		return nil, err
	}
	r.Table, r.Clusters, r.Origins = in.Scope.Table, sortedSet(clusters), in.Host.Origins
	return r, nil
}

// virtualHost translates one virtual host and lists the clusters that must exist for it.
func virtualHost(h *mesh.VirtualHost, s scope) (*routev3.VirtualHost, []string, error) {
	out := &routev3.VirtualHost{
		Name: h.Name, Domains: h.Domains,
		// As Istio: the upstream learns from x-envoy-attempt-count which attempt it sees.
		IncludeRequestAttemptCount: !s.Inbound && !s.NoAttemptCount,
	}
	if h.RequireTLS {
		out.RequireTls = routev3.VirtualHost_ALL
	}
	if err := hostOf(s.Host).virtualHost(out, h); err != nil {
		return nil, nil, fmt.Errorf("virtual host %s: %w", h.Name, err)
	}
	var clusters []string
	if l := h.RateLimit; l != nil && l.Global != nil {
		clusters = append(clusters, l.Global.Cluster)
	}
	for i, r := range h.Routes {
		if r.Choice != "" && !s.Host.Mizzen() {
			continue // nothing would ever choose it
		}
		route, err := buildRoute(h, r, s)
		if err != nil {
			return nil, nil, fmt.Errorf("virtual host %s: route %d %s: %w", h.Name, i, r.Name, err)
		}
		out.Routes = append(out.Routes, route)
		clusters = append(clusters, routeClusters(r)...)
	}
	return out, clusters, nil
}

// buildRoute translates one bound route.
func buildRoute(h *mesh.VirtualHost, r *mesh.BoundRoute, s scope) (*routev3.Route, error) {
	m, err := routeMatch(r)
	if err != nil {
		return nil, err
	}
	out := &routev3.Route{Name: r.Name, Match: m}
	if r.Match != nil {
		out.StatPrefix = r.Match.StatPrefix
	}
	if r.Route != nil {
		out.Metadata = istioMetadata(r.Route.Origin)
	}
	if err := setAction(out, h, r, s); err != nil {
		return nil, err
	}
	if err := setFilterConfigs(out, h, r, s); err != nil {
		return nil, err
	}
	return out, nil
}

// setFilterConfigs attaches the route's own filter configurations.
func setFilterConfigs(out *routev3.Route, h *mesh.VirtualHost, r *mesh.BoundRoute, s scope) error {
	if err := hostOf(s.Host).route(out, h, r); err != nil {
		return err
	}
	if r.Connect { // what is in a tunnel is bytes
		off, err := toAny(&routev3.FilterConfig{Disabled: true})
		if err != nil {
			return err
		}
		setConfig(&out.TypedPerFilterConfig, stateFilter, off)
	}
	if r.Route != nil && r.Route.CORS != nil {
		config, err := corsConfig(r.Route.CORS)
		if err != nil {
			return err
		}
		setConfig(&out.TypedPerFilterConfig, corsFilter, config)
	}
	return nil
}

// routeClusters lists the clusters that must exist before the route may be sent.
func routeClusters(r *mesh.BoundRoute) []string {
	var out []string
	for _, c := range r.Clusters {
		if !c.Missing {
			out = append(out, c.Cluster)
		}
	}
	for _, m := range r.Mirrors {
		if m.PPM > 0 {
			out = append(out, m.Cluster)
		}
	}
	return out
}

// requestPort is the port that a virtual host was asked on: its own name ends in it ("reviews:9080", and so a table
// of all ports can tell), or else the table's does ("9080", "http.80"). 0 if neither does.
func requestPort(host, table string) uint32 {
	for _, name := range []string{host, table} {
		if i := strings.LastIndexAny(name, ":."); i >= 0 {
			name = name[i+1:]
		}
		if p, err := strconv.ParseUint(name, 10, 16); err == nil {
			return uint32(p)
		}
	}
	return 0
}

// adsSource is configuration over the ADS stream. No fetch timeout: a proxy that starts while the control plane is
// away waits, as Istio's do, rather than serve 404.
func adsSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   seconds(0),
	}
}
