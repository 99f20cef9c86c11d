package bootstrap

import (
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// istioTags take the same labels out of Envoy's names as Istio's bootstrap does. Clusters and HTTP connection managers
// end in ";" (xdsgen writes it), so that their own dots do not count. Few expressions: each is tried on every
// statistic that is made, which a proxy feels when it starts.
var istioTags = []StatsTag{
	{"cluster_name", `^cluster\.((.*?);\.)`},
	{"http_conn_manager_prefix", `^http\.((.*?);\.)`},
	{"tcp_prefix", `^tcp\.((.*?);?\.)\w+?$`},
	{"response_code", `_rq(_(\d{3}))$`},
	{"response_code_class", `_rq(_(\dxx))$`},
	{"listener_address", `^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)`},
}

func statsConfig(more []StatsTag) *metricsv3.StatsConfig {
	out := &metricsv3.StatsConfig{UseAllDefaultTags: wrapperspb.Bool(false)}
	for _, t := range append(append([]StatsTag(nil), istioTags...), more...) {
		out.StatsTags = append(out.StatsTags, &metricsv3.TagSpecifier{
			TagName: t.Name, TagValue: &metricsv3.TagSpecifier_Regex{Regex: t.Regex},
		})
	}
	return out
}
