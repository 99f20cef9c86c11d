package xdsgen

import (
	"cmp"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	transformv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/actions/transform_stat/v3"
	tagvaluev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/stats/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// unknown is Istio's word for a label without a value.
const unknown = "unknown"

// Bounds of what all metrics of a proxy come to: what exceeds them is not counted, and Envoy's stats say so. A label that a user made of a
// request's path must not fill the proxy's memory.
const (
	maxCounters   = 10000
	maxHistograms = 3000
)

// recipe is how Envoy makes one metric from a request or a connection that has ended.
type recipe struct {
	requests  bool
	histogram bool
	unit      statslogv3.Config_Histogram_Unit
	value     string // a format; "": one
}

func recipes() map[string]recipe {
	const bytes = statslogv3.Config_Histogram_Bytes
	return map[string]recipe{
		mesh.RequestsTotal:   {requests: true},
		mesh.RequestDuration: {true, true, statslogv3.Config_Histogram_Milliseconds, "%DURATION%"},
		mesh.RequestBytes:    {true, true, bytes, "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"},
		mesh.ResponseBytes:   {true, true, bytes, "%DOWNSTREAM_WIRE_BYTES_SENT%"},
		mesh.TCPOpened:       {},
		mesh.TCPClosed:       {},
		mesh.TCPSent:         {value: "%BYTES_SENT%"},
		mesh.TCPReceived:     {value: "%BYTES_RECEIVED%"},
	}
}

// statsLog makes Istio's metrics with Envoy's access logger for statistics, which runs when a request has ended; nil if there are none.
func statsLog(set *mesh.MetricSet, requests bool) (*accesslogv3.AccessLog, error) {
	if set == nil {
		return nil, nil
	}
	config := &statslogv3.Config{StatsScope: &typev3.Scope{
		SharingName: "istio", MaxCounters: wrapperspb.UInt32(maxCounters), MaxHistograms: wrapperspb.UInt32(maxHistograms),
	}}
	standard := standardTags(set, requests)
	for _, m := range set.Metrics {
		r := recipes()[m.Name]
		if r.requests != requests {
			continue
		}
		stat := &statslogv3.Config_Stat{Name: m.Name, Tags: overridden(standard, m.Tags)}
		switch {
		case r.histogram:
			config.Histograms = append(config.Histograms, &statslogv3.Config_Histogram{Stat: stat, Unit: r.unit, ValueFormat: r.value})
		case r.value != "":
			config.Counters = append(config.Counters, &statslogv3.Config_Counter{Stat: stat, ValueFormat: r.value})
		default:
			config.Counters = append(config.Counters, &statslogv3.Config_Counter{Stat: stat, ValueFixed: wrapperspb.UInt64(1)})
		}
	}
	if len(config.Histograms)+len(config.Counters) == 0 {
		return nil, nil
	}
	packed, err := toAny(config)
	return &accesslogv3.AccessLog{Name: "envoy.access_loggers.stats", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: packed}}, err
}

// overridden is the standard labels as a user changed them.
func overridden(standard []*statslogv3.Config_Tag, tags []*mesh.MetricTag) []*statslogv3.Config_Tag {
	out := slices.Clone(standard)
	for _, t := range tags {
		i := slices.IndexFunc(out, func(s *statslogv3.Config_Tag) bool { return s.Name == t.Name })
		switch {
		case t.Remove && i >= 0:
			out = slices.Delete(out, i, i+1)
		case t.Remove:
		case i >= 0:
			out[i] = tag(t.Name, t.Format)
		default:
			out = append(out, tag(t.Name, t.Format))
		}
	}
	return out
}

// standardTags are Istio's labels. What the proxy is itself stands in them as it is; the other side is told by the endpoint and its
// cluster for a client, and for a server by its certificate only.
func standardTags(set *mesh.MetricSet, requests bool) []*statslogv3.Config_Tag {
	reporter, policy := "source", plain("connection_security_policy", unknown)
	self, other := "source_", "destination_"
	own, peer := "%UPSTREAM_LOCAL_URI_SAN%", "%UPSTREAM_PEER_URI_SAN%"
	if set.Server {
		reporter, self, other = "destination", "destination_", "source_"
		own, peer = "%DOWNSTREAM_LOCAL_URI_SAN%", "%DOWNSTREAM_PEER_URI_SAN%"
		policy = ruled("connection_security_policy", peer, matched("", "none"), "mutual_tls")
	}
	protocol := plain("request_protocol", "tcp")
	if requests {
		protocol = ruled("request_protocol", "%REQ(CONTENT-TYPE)%", prefixed("application/grpc", "grpc"), "http")
	}
	out := []*statslogv3.Config_Tag{plain("reporter", reporter), tag(self+"principal", own), tag(other+"principal", peer), policy, protocol}
	for _, l := range workloadLabels(set.Self) {
		out = append(out, plain(self+l.name, l.value))
		if set.Server {
			out = append(out, plain(other+l.name, unknown))
		} else {
			out = append(out, tag(other+l.name, "%UPSTREAM_METADATA(istio:"+l.name+")%"))
		}
	}
	for _, l := range []label{{"service", "host"}, {"service_name", "name"}, {"service_namespace", "namespace"}} {
		out = append(out, tag("destination_"+l.name, "%CEL(xds.cluster_metadata.filter_metadata['istio'].services[0]."+l.value+")%"))
	}
	out = append(out, ruled("response_flags", "%RESPONSE_FLAGS%", matched("", "-"), ""))
	if requests {
		out = append(out, tag("response_code", "%RESPONSE_CODE%"), ruled("grpc_response_status", "%GRPC_STATUS_NUMBER%", nil, ""))
	}
	return out
}

// label of a metric.
type label struct{ name, value string }

func workloadLabels(w mesh.WorkloadName) []label {
	return []label{
		{"workload", w.Workload}, {"workload_namespace", w.Namespace}, {"app", w.App}, {"version", w.Version},
		{"canonical_service", w.Service}, {"canonical_revision", w.Revision}, {"cluster", w.Cluster},
	}
}

// plain is a label that is the same for all.
func plain(name, value string) *statslogv3.Config_Tag {
	return &statslogv3.Config_Tag{Name: name, ValueFormat: strings.ReplaceAll(cmp.Or(value, unknown), "%", "%%")}
}

// tag is a label with the value of a format, "unknown" where there is none.
func tag(name, format string) *statslogv3.Config_Tag {
	return ruled(name, format, matched("", unknown), "")
}

// ruled is a label whose value is replaced where a rule says so, and by rest where it does not ("": it stays).
func ruled(name, format string, rule *matcherv3.Matcher_MatcherList_FieldMatcher, rest string) *statslogv3.Config_Tag {
	out := &statslogv3.Config_Tag{Name: name, ValueFormat: format}
	if rule == nil || !strings.Contains(format, "%") {
		return out
	}
	out.Rules = &matcherv3.Matcher{MatcherType: &matcherv3.Matcher_MatcherList_{
		MatcherList: &matcherv3.Matcher_MatcherList{Matchers: []*matcherv3.Matcher_MatcherList_FieldMatcher{rule}},
	}}
	if rest != "" {
		out.Rules.OnNoMatch = becomes(rest)
	}
	return out
}

// matched replaces one value, and prefixed those that begin with one.
func matched(value, with string) *matcherv3.Matcher_MatcherList_FieldMatcher {
	return replaced(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}}, with)
}

func prefixed(value, with string) *matcherv3.Matcher_MatcherList_FieldMatcher {
	return replaced(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: value}}, with)
}

func replaced(m *matcherv3.StringMatcher, with string) *matcherv3.Matcher_MatcherList_FieldMatcher {
	return &matcherv3.Matcher_MatcherList_FieldMatcher{
		Predicate: &matcherv3.Matcher_MatcherList_Predicate{MatchType: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input:   &xdscorev3.TypedExtensionConfig{Name: "value", TypedConfig: mustAny(&tagvaluev3.StatTagValueInput{})},
				Matcher: &matcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: m},
			},
		}},
		OnMatch: becomes(with),
	}
}

func becomes(value string) *matcherv3.Matcher_OnMatch {
	return &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{
		Name: "becomes", TypedConfig: mustAny(&transformv3.TransformStat{UpdateTag: &transformv3.TransformStat_UpdateTag{NewTagValue: value}}),
	}}}
}

// namedEndpoint is an endpoint that tells, if it is to, how metrics call its workload.
func namedEndpoint(e *mesh.Endpoint, shrink uint32, named bool) *endpointv3.LbEndpoint {
	out := lbEndpoint(e, shrink)
	i := strings.LastIndexByte(e.Workload, '.')
	if !named || i < 0 {
		return out
	}
	w := mesh.NameOf(e.Workload[:i], e.Workload[i+1:], e.Labels)
	fields := map[string]any{}
	for _, l := range workloadLabels(w) {
		fields[l.name] = l.value
	}
	names := metadata(fields)
	if out.Metadata == nil {
		out.Metadata = names
	} else {
		out.Metadata.FilterMetadata[metadataNamespace] = names.FilterMetadata[metadataNamespace]
	}
	return out
}
