package xdsgen

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	dfpfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
)

const corsFilter = "envoy.filters.http.cors"

// httpRole is one use of the HTTP connection manager.
type httpRole struct {
	Table string
	Stat  string // ends in ";", as Istio's do
	Name  string // of the filter chain; "" for the only one
	// Inbound says before the workload who calls it, by header x-forwarded-client-cert: see setPeerHeader.
	Inbound bool
}

// connectionManager translates one HTTP listener. Istio's settings: stream idle timeout off, paths normalised, every
// kind of WebSocket let through, server: istio-envoy; setProxy has what the mesh or the pod may say otherwise.
func connectionManager(in listenerInput, role httpRole) (*hcmv3.HttpConnectionManager, error) {
	out := &hcmv3.HttpConnectionManager{
		CodecType: hcmv3.HttpConnectionManager_AUTO, StatPrefix: role.Stat, ServerName: "istio-envoy",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: adsSource(), RouteConfigName: role.Table}},
		// A gateway is the edge: it believes its peer's address and no header. A sidecar passes x-forwarded-for on
		// as it came.
		UseRemoteAddress: wrapperspb.Bool(in.Gateway), SkipXffAppend: !in.Gateway,
		GenerateRequestId: wrapperspb.Bool(!makesRequestID(in)),
		// A caller's own x-request-id is kept at the edge too: tests and traces rely on it.
		PreserveExternalRequestId:     in.Gateway,
		StreamIdleTimeout:             seconds(0),
		UpgradeConfigs:                []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		EarlyHeaderMutationExtensions: stripInternal(),
	}
	setProxy(out, in, role)
	if in.Listener.Kind == mesh.ListenHTTPProxy {
		out.UpgradeConfigs = append(out.UpgradeConfigs, &hcmv3.HttpConnectionManager_UpgradeConfig{UpgradeType: "CONNECT"})
	}
	var err error
	if out.AccessLog, err = accessLogs(in, true); err != nil {
		return nil, err
	}
	if err := setTracer(out, in.Listener.Tracer); err != nil {
		return nil, err
	}
	out.HttpFilters, err = httpFilters(in)
	return out, err
}

// makesRequestID tells whether the tracing policy makes x-request-id, and writes the sampling decision into it as Envoy
// would; Envoy, coming first, would leave it nothing to make.
func makesRequestID(in listenerInput) bool {
	t := in.Listener.Tracing
	return in.Host.Mizzen() && t != nil && !t.KeepRequestID && !t.Translate
}

// stripInternal removes, before any route is chosen, the headers that carry Mizzen's own decisions, so that no client
// can forge one.
func stripInternal() []*corev3.TypedExtensionConfig {
	m := &earlyv3.HeaderMutation{}
	for _, name := range []string{canary.RouteHeader, canary.ClusterHeader} {
		m.Mutations = append(m.Mutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}})
	}
	return []*corev3.TypedExtensionConfig{{
		Name: "envoy.http.early_header_mutation.header_mutation", TypedConfig: mustAny(m),
	}}
}

// httpFilters lists the filters: the policies' first (the canary chooses the route whose CORS and upstream apply).
func httpFilters(in listenerInput) ([]*hcmv3.HttpFilter, error) {
	out, err := hostOf(in.Host).filters(in)
	if err != nil {
		return nil, err
	}
	for stage := range stages {
		guards, err := httpAuth(in.Auth, stage)
		if err != nil {
			return nil, err
		}
		extensions, err := httpExtensions(in, phaseOf(stage))
		if err != nil {
			return nil, err
		}
		out = append(append(out, guards...), extensions...)
	}
	extensions, err := httpExtensions(in, "")
	if err != nil {
		return nil, err
	}
	out = append(out, extensions...)
	native := []struct {
		name   string
		config proto.Message
		on     bool
	}{
		{corsFilter, &corsv3.Cors{}, true},
		{"envoy.filters.http.dynamic_forward_proxy", &dfpfilterv3.FilterConfig{
			ImplementationSpecifier: &dfpfilterv3.FilterConfig_DnsCacheConfig{DnsCacheConfig: dnsCache(in.Families)},
		}, in.DynamicDNS},
		{stateFilter, offerHTTP(), in.Identity && in.Listener.Kind != mesh.ListenInbound && in.Listener.Kind != mesh.ListenVirtualInbound},
		{"envoy.filters.http.router", &routerv3.Router{SuppressEnvoyHeaders: in.Proxy.NoDebugHeaders}, true},
	}
	for _, n := range native {
		if !n.on {
			continue
		}
		f, err := httpFilter(n.name, n.config)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}
