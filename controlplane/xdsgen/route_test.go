package xdsgen

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	dynmodhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// oneRoute translates a single bound route of a plain outbound host.
func oneRoute(t *testing.T, r *mesh.BoundRoute) *routev3.Route {
	t.Helper()
	out, err := buildRoute(&mesh.VirtualHost{Name: "h:9080"}, r, scope{Table: "9080"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares a message with its text form.
func same(t *testing.T, got proto.Message, want string) {
	t.Helper()
	w := got.ProtoReflect().New().Interface()
	if err := prototext.Unmarshal([]byte(want), w); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w, got, protocmp.Transform()); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}

func TestMatch(t *testing.T) {
	for name, c := range map[string]struct {
		in   match.Request
		want string
	}{
		"nothing":       {match.Request{}, `prefix: "/"`},
		"exact":         {match.Request{Path: exact("/a")}, `path: "/a"`},
		"empty prefix":  {match.Request{Path: prefix("")}, `prefix: ""`},
		"no case":       {match.Request{Path: prefix("/A"), IgnorePathCase: true}, `prefix: "/A" case_sensitive { value: false }`},
		"regex":         {match.Request{Path: &match.String{Regex: ptr("/a.*")}}, `safe_regex { regex: "/a.*" }`},
		"suffix":        {match.Request{Path: &match.String{Suffix: ptr(".js")}}, `safe_regex { regex: ".*\\.js" }`},
		"method":        {match.Request{Method: exact("PUT")}, `prefix: "/" headers { name: ":method" string_match { exact: "PUT" } }`},
		"sorted":        {match.Request{Headers: []match.Named{{Name: "b", String: *exact("1")}, {Name: "a", String: match.String{Present: true}}}}, `prefix: "/" headers { name: "a" present_match: true } headers { name: "b" string_match { exact: "1" } }`},
		"absent":        {match.Request{Headers: []match.Named{{Name: "a", String: match.String{Absent: true}}}}, `prefix: "/" headers { name: "a" present_match: true invert_match: true }`},
		"without":       {match.Request{Headers: []match.Named{{Name: "a", String: match.String{Regex: ptr(".*"), Invert: true, AbsentAsEmpty: true}}}}, `prefix: "/" headers { name: "a" string_match { safe_regex { regex: ".*" } } invert_match: true treat_missing_header_as_empty: true }`},
		"without any":   {match.Request{Headers: []match.Named{{Name: "a", String: match.String{Present: true, Invert: true, AbsentAsEmpty: true}}}}, `prefix: "/" headers { name: "a" present_match: true invert_match: true }`},
		"query":         {match.Request{Query: []match.Named{{Name: "q", String: *prefix("x")}}}, `prefix: "/" query_parameters { name: "q" string_match { prefix: "x" } }`},
		"cookie":        {match.Request{Cookies: []match.Named{{Name: "u", String: *exact("x")}}}, `prefix: "/" cookies { name: "u" string_match { exact: "x" } }`},
		"no cookie":     {match.Request{Cookies: []match.Named{{Name: "u", String: match.String{Absent: true}}}}, `prefix: "/" cookies { name: "u" string_match { safe_regex { regex: ".*" } } invert_match: true }`},
		"query present": {match.Request{Query: []match.Named{{Name: "q", String: match.String{Present: true}}}}, `prefix: "/" query_parameters { name: "q" present_match: true }`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := routeMatch(&mesh.BoundRoute{Match: &mesh.Match{Request: c.in}})
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.want)
		})
	}
	if _, err := routeMatch(&mesh.BoundRoute{Match: &mesh.Match{Request: match.Request{Query: []match.Named{{Name: "q", String: match.String{Exact: ptr("x"), Invert: true}}}}}}); err == nil {
		t.Error("an inverted query match was accepted")
	}
}

// TestChoiceMatchesPathOnly: the canary has judged the rest, and a rewrite needs the path.
func TestChoiceMatchesPathOnly(t *testing.T) {
	got, err := routeMatch(canaryHost().Routes[0])
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, `prefix: "/api" headers { name: "x-mizzen-route" string_match { exact: "r0.d0" } }`)
}

func TestDefaults(t *testing.T) {
	got := oneRoute(t, &mesh.BoundRoute{Route: &mesh.Route{}, Clusters: []*mesh.WeightedCluster{{Cluster: "c"}}})
	same(t, got, `match { prefix: "/" } route { cluster: "c" timeout {} max_stream_duration { grpc_timeout_header_max {} } }`)
}

func TestRewrite(t *testing.T) {
	for name, c := range map[string]struct {
		in   mesh.Rewrite
		want string
	}{
		"uri":       {mesh.Rewrite{Path: "/"}, `prefix_rewrite: "/"`},
		"authority": {mesh.Rewrite{Authority: "a"}, `host_rewrite_literal: "a"`},
		"regex":     {mesh.Rewrite{RegexMatch: "/a/(.*)", RegexSub: `/b/\1`}, `regex_rewrite { pattern { regex: "/a/(.*)" } substitution: "/b/\\1" }`},
	} {
		t.Run(name, func(t *testing.T) {
			r := oneRoute(t, &mesh.BoundRoute{Route: &mesh.Route{Timeout: time.Second, Rewrite: &c.in}, Clusters: []*mesh.WeightedCluster{{Cluster: "c"}}})
			same(t, r.GetRoute(), c.want+` cluster: "c" timeout { seconds: 1 }`)
		})
	}
}

func TestRedirect(t *testing.T) {
	for name, c := range map[string]struct {
		in   mesh.Redirect
		want string
	}{
		"default code":           {mesh.Redirect{Authority: "a"}, `host_redirect: "a"`},
		"path":                   {mesh.Redirect{Path: "/p", Code: 308}, `path_redirect: "/p" response_code: PERMANENT_REDIRECT`},
		"prefix":                 {mesh.Redirect{Prefix: "/p", Code: 302}, `prefix_rewrite: "/p" response_code: FOUND`},
		"443 over http stays":    {mesh.Redirect{Port: 443, Scheme: "http"}, `scheme_redirect: "http" port_redirect: 443`},
		"443 over https goes":    {mesh.Redirect{Port: 443, Scheme: "https"}, `scheme_redirect: "https"`},
		"80 goes":                {mesh.Redirect{Port: 80}, ``},
		"port of the request":    {mesh.Redirect{PortFromRequest: true}, `port_redirect: 9080`},
		"a code Envoy has not":   {mesh.Redirect{Code: 304}, ``},
		"temporary, and see too": {mesh.Redirect{Code: 307}, `response_code: TEMPORARY_REDIRECT`},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, oneRoute(t, &mesh.BoundRoute{Route: &mesh.Route{Redirect: &c.in}}).GetRedirect(), c.want)
		})
	}
}

func TestRequestPort(t *testing.T) {
	for in, want := range map[[2]string]uint32{
		{"a.example.com:9080", "http_proxy"}: 9080, {"allow_any", "9080"}: 9080, {"any", "http.80"}: 80, {"any", "http_proxy"}: 0,
	} {
		if got := requestPort(in[0], in[1]); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestRetries(t *testing.T) {
	full := &mesh.Retries{Attempts: 3, PerTry: time.Second, On: "5xx", StatusCodes: []uint32{418}, Backoff: time.Microsecond, AvoidPrevious: true, RemoteLocality: true}
	got := retryPolicy(full, false)
	if got.HostSelectionRetryMaxAttempts != 5 || got.RetryHostPredicate[0].Name != "envoy.retry_host_predicates.previous_hosts" ||
		got.RetryPriority.Name != "envoy.retry_priorities.previous_priorities" || got.RetryBackOff.BaseInterval.AsDuration() != time.Millisecond {
		t.Errorf("got %v", got)
	}
	if hashed := retryPolicy(full, true); hashed.RetryHostPredicate != nil || hashed.HostSelectionRetryMaxAttempts != 0 {
		t.Errorf("a hashed destination avoids its own host: %v", hashed)
	}
	if retryPolicy(&mesh.Retries{}, false) != nil || retryPolicy(nil, false) != nil {
		t.Error("no attempts, yet a policy")
	}
	mine, theirs := &mesh.Retries{Attempts: 9}, &mesh.Retries{Attempts: 1}
	for name, c := range map[string]struct {
		def  *mesh.Retries
		s    scope
		want uint32
	}{
		"the route's":     {mine, scope{Retries: theirs}, 9},
		"the mesh's":      {nil, scope{Retries: theirs}, 1},
		"inbound its own": {mine, scope{Retries: theirs, Inbound: true}, 2},
	} {
		if got := retries(&mesh.Route{Retries: c.def}, c.s); got.Attempts != c.want {
			t.Errorf("%s: %d attempts, want %d", name, got.Attempts, c.want)
		}
	}
}

func TestHeaders(t *testing.T) {
	r := oneRoute(t, richRoutes()[0])
	same(t, &routev3.Route{RequestHeadersToAdd: r.RequestHeadersToAdd, RequestHeadersToRemove: r.RequestHeadersToRemove, ResponseHeadersToAdd: r.ResponseHeadersToAdd}, `
		request_headers_to_add { header { key: "X-A" value: "1" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_add { header { key: "X-B" value: "2" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_add { header { key: "X-C" value: "3" } }
		request_headers_to_remove: "x-d"
		response_headers_to_add { header { key: "x-e" } keep_empty_value: true }`)
}

// TestHeadersOfDestination: a route's only destination has the last word, as in Istio; of several the route has it, as
// with Envoy's weighted clusters, which an Envoy route of the canary for one of several must equal.
func TestHeadersOfDestination(t *testing.T) {
	def := mesh.Route{Headers: mesh.HeaderOps{
		Request:  mesh.HeaderEdit{Set: map[string]string{"x-a": "route"}, Remove: []string{"X-Gone"}},
		Response: mesh.HeaderEdit{Add: map[string]string{"x-r": "route"}},
	}}
	one := []*mesh.WeightedCluster{{Cluster: "c", Headers: mesh.HeaderOps{
		Request:  mesh.HeaderEdit{Set: map[string]string{"x-a": "dest", "x-gone": "dest"}, Remove: []string{"x-too"}},
		Response: mesh.HeaderEdit{Add: map[string]string{"x-r": "dest"}},
	}}}
	edited := func(d mesh.Route) *routev3.Route {
		r := oneRoute(t, &mesh.BoundRoute{Route: &d, Clusters: one})
		return &routev3.Route{RequestHeadersToAdd: r.RequestHeadersToAdd, RequestHeadersToRemove: r.RequestHeadersToRemove, ResponseHeadersToAdd: r.ResponseHeadersToAdd}
	}
	def.Destinations = []*mesh.Destination{{}}
	same(t, edited(def), `
		request_headers_to_add { header { key: "x-a" value: "route" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_add { header { key: "x-a" value: "dest" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_add { header { key: "x-gone" value: "dest" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_remove: "X-Gone" request_headers_to_remove: "x-too"
		response_headers_to_add { header { key: "x-r" value: "route" } }
		response_headers_to_add { header { key: "x-r" value: "dest" } }`)
	def.Destinations = []*mesh.Destination{{}, {}}
	same(t, edited(def), `
		request_headers_to_add { header { key: "x-a" value: "dest" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_add { header { key: "x-a" value: "route" } append_action: OVERWRITE_IF_EXISTS_OR_ADD }
		request_headers_to_remove: "x-too" request_headers_to_remove: "X-Gone"
		response_headers_to_add { header { key: "x-r" value: "dest" } }
		response_headers_to_add { header { key: "x-r" value: "route" } }`)
}

// TestAuthority: a host set by a header edit is a rewrite, and the route's own rewrite wins over a destination's.
func TestAuthority(t *testing.T) {
	host := func(h string) mesh.HeaderOps {
		return mesh.HeaderOps{Request: mesh.HeaderEdit{Set: map[string]string{"Host": h}}}
	}
	one := []*mesh.WeightedCluster{{Cluster: "c", Headers: host("dest")}}
	two := append(one, &mesh.WeightedCluster{Cluster: "d", Weight: 1})
	for name, c := range map[string]struct {
		def      mesh.Route
		clusters []*mesh.WeightedCluster
		want     string
	}{
		"route header":     {mesh.Route{Headers: host("route")}, one, "route"},
		"one destination":  {mesh.Route{}, one, "dest"},
		"rewrite wins":     {mesh.Route{Headers: host("route"), Rewrite: &mesh.Rewrite{Authority: "rewrite"}}, one, "rewrite"},
		"two destinations": {mesh.Route{}, two, ""},
	} {
		got := oneRoute(t, &mesh.BoundRoute{Route: &c.def, Clusters: c.clusters})
		if h := got.GetRoute().GetHostRewriteLiteral(); h != c.want {
			t.Errorf("%s: %q, want %q", name, h, c.want)
		}
		if len(got.RequestHeadersToAdd) > 0 {
			t.Errorf("%s: host was edited as a header: %v", name, got.RequestHeadersToAdd)
		}
	}
	weights := oneRoute(t, &mesh.BoundRoute{Clusters: two}).GetRoute().GetWeightedClusters().GetClusters()
	if weights[0].GetHostRewriteLiteral() != "dest" || weights[1].HostRewriteSpecifier != nil {
		t.Errorf("weights %v", weights)
	}
}

func TestMirrorsHashCors(t *testing.T) {
	rich := richRoutes()
	mirrors := oneRoute(t, rich[0]).GetRoute().GetRequestMirrorPolicies()
	if len(mirrors) != 1 {
		t.Fatalf("%d mirrors, want one: a share of 0 is none", len(mirrors))
	}
	same(t, mirrors[0], `cluster: "`+reviewsV2+`" runtime_fraction { default_value { numerator: 250000 denominator: MILLION } }
		trace_sampled {} disable_shadow_host_suffix_append: true`)
	hash := &routev3.RouteAction{HashPolicy: oneRoute(t, rich[1]).GetRoute().GetHashPolicy()}
	same(t, hash, `hash_policy { header { header_name: "x-user" } } hash_policy { query_parameter { name: "user" } }
		hash_policy { connection_properties { source_ip: true } } hash_policy { cookie { name: "user" path: "/" ttl { seconds: 3600 } } }
		hash_policy { cookie { name: "plain" } }`)
	cors := &corsv3.CorsPolicy{}
	if err := oneRoute(t, rich[0]).TypedPerFilterConfig[corsFilter].UnmarshalTo(cors); err != nil {
		t.Fatal(err)
	}
	same(t, cors, `allow_origin_string_match { exact: "https://a.example.com" } allow_origin_string_match { safe_regex { regex: ".*b" } }
		allow_methods: "GET,POST" allow_headers: "x-a" expose_headers: "x-b" max_age: "3600" allow_credentials { value: true }
		filter_enabled { default_value { numerator: 100 } } forward_not_matching_preflights { value: true }`)
}

func TestMetadataAndConnect(t *testing.T) {
	r := oneRoute(t, richRoutes()[0])
	if got := r.Metadata.FilterMetadata["istio"].Fields["config"].GetStringValue(); got != "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews" {
		t.Errorf("config %q", got)
	}
	c := oneRoute(t, catchAll("p").Routes[0])
	if c.Match.GetConnectMatcher() == nil || c.GetRoute().UpgradeConfigs[0].UpgradeType != "CONNECT" || c.GetRoute().UpgradeConfigs[0].ConnectConfig == nil {
		t.Errorf("no CONNECT: %v", c)
	}
	if d := oneRoute(t, richRoutes()[4]).GetDirectResponse(); d.Status != 418 || d.Body.GetInlineString() != "short and stout" {
		t.Errorf("direct response %v", d)
	}
}

// filterConfig reads what the filter is given at one level.
func filterConfig(t *testing.T, m map[string]*anypb.Any) *registry.Config {
	t.Helper()
	if m[FilterName] == nil {
		return nil
	}
	per := &dynmodhttpv3.DynamicModuleFilterPerRoute{}
	if err := m[FilterName].UnmarshalTo(per); err != nil {
		t.Fatal(err)
	}
	if per.FilterName != "mizzen" || per.DynamicModuleConfig.Name != "mizzen" || !per.DynamicModuleConfig.DoNotClose {
		t.Errorf("module %v", per)
	}
	text := &wrapperspb.StringValue{}
	if err := per.FilterConfig.UnmarshalTo(text); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(text.Value))
	d.DisallowUnknownFields()
	out := &registry.Config{}
	if err := d.Decode(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPolicyLevels: the filter sees the most specific level only, so each level is complete; and before a choice is
// made it sees the host's canary, never a route's fault.
func TestPolicyLevels(t *testing.T) {
	h := unpack(t, named(build(t, sidecarView()).VirtualHosts, "9080/reviews.default.svc.cluster.local:9080"), &routev3.VirtualHost{})
	if h.Name != "9080/reviews.default.svc.cluster.local:9080" {
		t.Errorf("name %q is not the resource's", h.Name)
	}
	c := filterConfig(t, h.TypedPerFilterConfig)
	if c == nil || c.Canary == nil || c.RateLimit == nil || c.Fault != nil || c.Tracing != nil {
		t.Fatalf("host: %+v", c)
	}
	if c := filterConfig(t, h.Routes[0].TypedPerFilterConfig); c == nil || c.Fault == nil || c.RateLimit == nil || c.Canary != nil {
		t.Errorf("chosen route with a fault: %+v", c)
	}
	for _, i := range []int{1, 2} {
		if c := filterConfig(t, h.Routes[i].TypedPerFilterConfig); c != nil {
			t.Errorf("route %d: %+v, want the host's", i, c)
		}
	}
	rich := unpack(t, named(build(t, sidecarView()).VirtualHosts, "9080/rich:9080"), &routev3.VirtualHost{})
	if c := filterConfig(t, rich.Routes[0].TypedPerFilterConfig); c == nil || c.Fault == nil {
		t.Errorf("fault of a native route: %+v", c)
	}
}

// TestWithoutModule: a proxy that cannot run the filter gets native routes, and the policies in Envoy's own filters.
func TestWithoutModule(t *testing.T) {
	v := sidecarView()
	v.Node.Module = false
	h := unpack(t, named(build(t, v).VirtualHosts, "9080/reviews.default.svc.cluster.local:9080"), &routev3.VirtualHost{})
	if len(h.Routes) != 1 || h.TypedPerFilterConfig[FilterName] != nil || h.Routes[0].TypedPerFilterConfig[FilterName] != nil {
		t.Errorf("%d routes, %v", len(h.Routes), h)
	}
	fault, limit := &faultv3.HTTPFault{}, &localv3.LocalRateLimit{}
	if err := h.Routes[0].TypedPerFilterConfig[native.FaultFilter].UnmarshalTo(fault); err != nil || fault.Abort.GetHttpStatus() != 503 {
		t.Errorf("fault %v, %v", fault, err)
	}
	if err := h.TypedPerFilterConfig[native.LimitFilter].UnmarshalTo(limit); err != nil || limit.Descriptors[0].TokenBucket.MaxTokens != 10 {
		t.Errorf("limit %v, %v", limit, err)
	}
	same(t, &routev3.RouteAction{ClusterSpecifier: h.Routes[0].GetRoute().ClusterSpecifier}, `weighted_clusters {
		clusters { name: "`+reviewsV1+`" weight { value: 90 } }
		clusters { name: "`+reviewsV2+`" weight { value: 10 } host_rewrite_literal: "v2.example.com"
			request_headers_to_add { header { key: "x-side" value: "v2" } append_action: OVERWRITE_IF_EXISTS_OR_ADD } } }`)
}

func TestTables(t *testing.T) {
	res := build(t, sidecarView())
	frame := unpack(t, named(res.Routes, "9080"), &routev3.RouteConfiguration{})
	if frame.Vhds.GetConfigSource().GetAds() == nil || len(frame.VirtualHosts) != 1 || frame.VirtualHosts[0].Name != "allow_any" {
		t.Errorf("frame %v", frame)
	}
	inline := unpack(t, named(res.InlineRoutes, "9080"), &routev3.RouteConfiguration{})
	var names []string
	for _, h := range inline.VirtualHosts {
		names = append(names, h.Name)
	}
	if want := []string{"reviews.default.svc.cluster.local:9080", "rich:9080", "allow_any"}; inline.Vhds != nil || !slices.Equal(names, want) {
		t.Errorf("hosts %q, want %q", names, want)
	}
	in := unpack(t, named(res.Routes, "inbound|9080||"), &routev3.RouteConfiguration{})
	if in.Vhds != nil || len(in.VirtualHosts) != 1 || !in.IgnorePortInHostMatching || frame.IgnorePortInHostMatching {
		t.Errorf("inbound %v", in)
	}
	if c := filterConfig(t, in.VirtualHosts[0].TypedPerFilterConfig); c == nil || c.RateLimit == nil {
		t.Errorf("inbound rate limit %+v", c)
	}
	for _, c := range []*routev3.RouteConfiguration{frame, inline, in} {
		if want := []string{"x-mizzen-route", "x-mizzen-cluster"}; !slices.Equal(c.RequestHeadersToRemove, want) {
			t.Errorf("%s: internal headers leave the proxy: %q", c.Name, c.RequestHeadersToRemove)
		}
	}
	tls := unpack(t, named(res.VirtualHosts, "http_proxy/tls:9080"), &routev3.VirtualHost{})
	if tls.RequireTls != routev3.VirtualHost_ALL {
		t.Error("httpsRedirect is lost")
	}
}
