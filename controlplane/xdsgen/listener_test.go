package xdsgen

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	dynmodhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

func listener(t *testing.T, v *mesh.View, name string) *listenerv3.Listener {
	t.Helper()
	return unpack(t, named(build(t, v).Listeners, name), &listenerv3.Listener{})
}

func manager(t *testing.T, c *listenerv3.FilterChain) *hcmv3.HttpConnectionManager {
	t.Helper()
	m := &hcmv3.HttpConnectionManager{}
	if err := c.Filters[0].GetTypedConfig().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func tcpProxy(t *testing.T, c *listenerv3.FilterChain) *tcpproxyv3.TcpProxy {
	t.Helper()
	p := &tcpproxyv3.TcpProxy{}
	if err := c.Filters[0].GetTypedConfig().UnmarshalTo(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func filters(m *hcmv3.HttpConnectionManager) string {
	var names []string
	for _, f := range m.HttpFilters {
		names = append(names, strings.TrimPrefix(f.Name, "envoy.filters.http."))
	}
	return strings.Join(names, " ")
}

func upgrades(m *hcmv3.HttpConnectionManager) string {
	var out []string
	for _, u := range m.UpgradeConfigs {
		out = append(out, u.UpgradeType)
	}
	return strings.Join(out, " ")
}

func TestOutboundHTTP(t *testing.T) {
	l := listener(t, sidecarView(), "0.0.0.0_9080")
	if l.GetBindToPort().GetValue() || l.BindToPort == nil || l.TrafficDirection != corev3.TrafficDirection_OUTBOUND ||
		l.DrainType != listenerv3.Listener_MODIFY_ONLY || l.PerConnectionBufferLimitBytes.GetValue() != 1<<20 {
		t.Errorf("listener %v", l)
	}
	m := manager(t, l.FilterChains[0])
	if m.StatPrefix != "outbound_0.0.0.0_9080;" || m.ServerName != "istio-envoy" || m.GetRds().RouteConfigName != "9080" ||
		!m.NormalizePath.GetValue() || m.StreamIdleTimeout.AsDuration() != 0 || m.StreamIdleTimeout == nil {
		t.Errorf("manager %v", m)
	}
	if m.UseRemoteAddress.GetValue() || !m.SkipXffAppend {
		t.Error("a sidecar touches x-forwarded-for")
	}
	if got := filters(m); got != "mizzen cors dynamic_forward_proxy router" {
		t.Errorf("filters %q", got)
	}
	if got := upgrades(m); got != "websocket" {
		t.Errorf("upgrades %q", got)
	}
	same(t, m.GetRds().ConfigSource, `ads {} resource_api_version: V3 initial_fetch_timeout {}`)
}

// TestRequestID: the tracing policy makes it, or else Envoy does.
func TestRequestID(t *testing.T) {
	for name, c := range map[string]struct {
		module bool
		policy *tracing.Config
		want   bool
	}{
		"policy":    {true, &tracing.Config{}, false},
		"kept":      {true, &tracing.Config{KeepRequestID: true}, true},
		"no policy": {true, nil, true},
		"no module": {false, &tracing.Config{}, true},
	} {
		v := sidecarView()
		v.Node.Module, v.Listeners[0].Tracing = c.module, c.policy
		if got := manager(t, listener(t, v, "0.0.0.0_9080").FilterChains[0]).GenerateRequestId.GetValue(); got != c.want {
			t.Errorf("%s: Envoy makes it: %v, want %v", name, got, c.want)
		}
	}
}

func TestModuleFilter(t *testing.T) {
	v := sidecarView()
	f := &dynmodhttpv3.DynamicModuleFilter{}
	m := manager(t, listener(t, v, "0.0.0.0_9080").FilterChains[0])
	if err := m.HttpFilters[0].GetTypedConfig().UnmarshalTo(f); err != nil {
		t.Fatal(err)
	}
	text := &wrapperspb.StringValue{}
	if err := f.FilterConfig.UnmarshalTo(text); err != nil {
		t.Fatal(err)
	}
	if f.FilterName != "mizzen" || f.DynamicModuleConfig.Name != "mizzen" || !f.DynamicModuleConfig.DoNotClose || !strings.HasPrefix(text.Value, `{"tracing":`) {
		t.Errorf("filter %v, configuration %s", f, text.Value)
	}
	v.Node.Module = false
	if got := filters(manager(t, listener(t, v, "0.0.0.0_9080").FilterChains[0])); strings.Contains(got, "mizzen") || !strings.HasPrefix(got, "local_ratelimit fault ") {
		t.Errorf("filters %q of a proxy without the module", got)
	}
}

// TestForgery: what a client sends can never pose as a decision.
func TestForgery(t *testing.T) {
	for _, l := range []*listenerv3.Listener{listener(t, sidecarView(), "0.0.0.0_9080"), listener(t, sidecarView(), "10.0.0.1_9081"), listener(t, gatewayView(), "0.0.0.0_80")} {
		got := string(manager(t, l.FilterChains[0]).EarlyHeaderMutationExtensions[0].TypedConfig.Value)
		for _, h := range []string{"x-mizzen-route", "x-mizzen-cluster"} {
			if !strings.Contains(got, h) {
				t.Errorf("%s lets %s in", l.Name, h)
			}
		}
	}
}

func TestProxyListener(t *testing.T) {
	l := listener(t, sidecarView(), "http_proxy")
	if l.BindToPort != nil {
		t.Error("an explicit proxy must bind")
	}
	if got := upgrades(manager(t, l.FilterChains[0])); got != "websocket CONNECT" {
		t.Errorf("upgrades %q", got)
	}
}

func TestGatewayListener(t *testing.T) {
	l := listener(t, gatewayView(), "0.0.0.0_80")
	m := manager(t, l.FilterChains[0])
	if !m.UseRemoteAddress.GetValue() || m.SkipXffAppend || l.Address.GetSocketAddress().GetPortValue() != 8080 || l.DrainType != listenerv3.Listener_DEFAULT {
		t.Errorf("gateway %v", l)
	}
	if len(m.AccessLog) != 0 {
		t.Error("an access log that nobody asked for")
	}
}

func TestTCP(t *testing.T) {
	p := tcpProxy(t, listener(t, sidecarView(), "10.1.0.1_6379").FilterChains[0])
	if p.GetCluster() != reviewsV1 || p.StatPrefix != reviewsV1 || p.IdleTimeout.AsDuration().Minutes() != 1 || len(p.AccessLog) != 1 {
		t.Errorf("proxy %v", p)
	}
}

func TestVirtualListeners(t *testing.T) {
	out := listener(t, sidecarView(), "virtualOutbound")
	if !out.UseOriginalDst.GetValue() || tcpProxy(t, out.DefaultFilterChain).GetCluster() != "PassthroughCluster" {
		t.Errorf("virtualOutbound %v", out)
	}
	if trap := out.FilterChains[0]; trap.FilterChainMatch.DestinationPort.GetValue() != 15101 || tcpProxy(t, trap).GetCluster() != "BlackHoleCluster" {
		t.Errorf("connections to the port itself: %v", trap)
	}
	in := listener(t, sidecarView(), "virtualInbound")
	if in.TrafficDirection != corev3.TrafficDirection_INBOUND || in.ListenerFilters[0].Name != "envoy.filters.listener.original_dst" || len(in.FilterChains) != 3 {
		t.Errorf("virtualInbound %v", in)
	}
	if m := manager(t, in.FilterChains[1]); m.StatPrefix != "inbound_0.0.0.0_9080;" || m.GetRds().RouteConfigName != "inbound|9080||" || in.FilterChains[1].FilterChainMatch.DestinationPort.GetValue() != 9080 {
		t.Errorf("chain %v", in.FilterChains[1])
	}
	if p := tcpProxy(t, in.FilterChains[2]); p.GetCluster() != "inbound|9080||" {
		t.Errorf("tcp chain %v", p)
	}
	if p := tcpProxy(t, in.DefaultFilterChain); p.GetCluster() != "InboundPassthroughCluster" {
		t.Errorf("default chain %v", p)
	}
}

func TestInboundListener(t *testing.T) {
	l := listener(t, sidecarView(), "10.0.0.1_9081")
	if l.TrafficDirection != corev3.TrafficDirection_INBOUND || l.BindToPort != nil || l.FilterChains[0].FilterChainMatch != nil || len(l.ListenerFilters) != 0 {
		t.Errorf("listener %v", l)
	}
}

func TestAccessLog(t *testing.T) {
	for name, c := range map[string]struct{ format, want string }{
		"Istio's":    {"", accessLogFormat + "\n"},
		"user's":     {"%RESPONSE_CODE%", "%RESPONSE_CODE%\n"},
		"newline in": {"x\n", "x\n"},
	} {
		log, err := accessLogs(listenerInput{Listener: &mesh.Listener{Logs: []*mesh.AccessLog{{Provider: &mesh.LogProvider{Kind: mesh.LogFile, Path: "/dev/stdout", Format: c.format}}}}}, true)
		if err != nil {
			t.Fatal(err)
		}
		f := &filelogv3.FileAccessLog{}
		if err := log[0].GetTypedConfig().UnmarshalTo(f); err != nil {
			t.Fatal(err)
		}
		if got := f.GetLogFormat().GetTextFormatSource().GetInlineString(); got != c.want || f.Path != "/dev/stdout" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestUnknownKindIsAnError(t *testing.T) {
	v := gatewayView()
	v.Listeners[0].Kind = 99
	if _, err := Build(v); err == nil || !strings.Contains(err.Error(), "0.0.0.0_80") {
		t.Errorf("got %v, want an error that names the listener", err)
	}
}
