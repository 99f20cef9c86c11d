package xdsgen

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	httpstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// plainProtocols are what Envoy's HTTP inspector calls what it finds.
func plainProtocols() []string { return []string{"http/1.0", "http/1.1", "h2c"} }

// Transports, as filter chains ask for them.
const (
	overTLS   = "tls"
	plaintext = "raw_buffer"
)

func tlsInspector() *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&tlsinspectorv3.TlsInspector{})},
	}
}

func httpInspector() *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.http_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&httpinspectorv3.HttpInspector{})},
	}
}

// setDetectTimeout has connections whose client says nothing go on as what is neither TLS nor HTTP.
func setDetectTimeout(out *listenerv3.Listener, wait time.Duration) {
	out.ListenerFiltersTimeout, out.ContinueOnListenerFiltersTimeout = durationpb.New(wait), true
}

// detectChains sends HTTP to the listener's table, and what no other chain takes to its cluster. The offer of HTTP that a client
// makes for the inside of its TLS is none.
func detectChains(out *listenerv3.Listener, in listenerInput) error {
	l := in.Listener
	chain, err := httpChain(in, httpRole{Table: l.Table, Stat: httpStat(l), Name: "http"})
	if err != nil {
		return err
	}
	chain.FilterChainMatch = &listenerv3.FilterChainMatch{TransportProtocol: plaintext, ApplicationProtocols: plainProtocols()}
	out.FilterChains = append(out.FilterChains, chain)
	if l.Cluster != "" {
		out.DefaultFilterChain, err = tcpChain(in, "default", l.Cluster)
	}
	return err
}

// skipOn keeps a listener filter from connections to some ports, where it would wait for a client that waits for the server; or, with
// except, from those to all others. Ports must be as the caller meant them: after interception is undone.
func skipOn(f *listenerv3.ListenerFilter, ports []uint32, except bool) *listenerv3.ListenerFilter {
	var rules []*listenerv3.ListenerFilterChainMatchPredicate
	slices.Sort(ports)
	for _, p := range ports {
		rules = append(rules, &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
			DestinationPortRange: &typev3.Int32Range{Start: int32(p), End: int32(p) + 1},
		}})
	}
	if len(rules) == 0 {
		return f
	}
	any := rules[0]
	if len(rules) > 1 {
		any = &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_OrMatch{
			OrMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules},
		}}
	}
	if f.FilterDisabled = any; except {
		f.FilterDisabled = &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: any}}
	}
	return f
}

// inspectInbound has the listener find out whether a connection is TLS, or HTTP, if any of its ports asks.
func inspectInbound(out *listenerv3.Listener, in listenerInput) {
	l := in.Listener
	var plain, detected []uint32
	for _, i := range l.Inbound {
		if !secured(i.Peer) {
			plain = append(plain, i.Port)
		}
		if detects(i) {
			detected = append(detected, i.Port)
		}
	}
	if securedInbound(l) {
		out.ListenerFilters = append(out.ListenerFilters, skipOn(tlsInspector(), plain, false))
	}
	if len(detected) > 0 {
		out.ListenerFilters = append(out.ListenerFilters, skipOn(httpInspector(), detected, true))
	}
	if securedInbound(l) || len(detected) > 0 {
		setDetectTimeout(out, in.DetectTimeout)
	}
}

// requestALPN in a cluster's metadata is what requests offer by ALPN in place of the cluster's own protocols, which are for bytes: see
// detectedDoors.
const requestALPN = "alpn"

const stateFilter = "envoy.filters.http.set_filter_state"

// offerHTTP has a request's connection offer what the metadata of the chosen cluster says; nothing for most.
func offerHTTP() *httpstatev3.Config {
	return &httpstatev3.Config{OnRequestHeaders: []*statev3.FilterStateValue{{
		Key: &statev3.FilterStateValue_ObjectKey{ObjectKey: "envoy.network.application_protocols"},
		Value: &statev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: "%CLUSTER_METADATA(istio:" + requestALPN + ")%"},
			}},
			OmitEmptyValues: true,
		}},
		SkipIfEmpty: true,
	}}}
}

// detects tells whether a port's connections are looked at for HTTP.
func detects(i *mesh.Inbound) bool {
	return i.Protocol == mesh.Detected && i.Table != "" && i.Peer != mesh.PeerRefuse
}
