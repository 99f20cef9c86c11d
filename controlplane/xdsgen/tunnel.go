package xdsgen

import (
	"net"
	"strconv"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// tunnelTo sends a connection in an HTTP request; nil for nil.
func tunnelTo(t *mesh.Tunnel) *tcpproxyv3.TcpProxy_TunnelingConfig {
	if t == nil {
		return nil
	}
	return &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: tunnelTarget(t), UsePost: t.Post}
}

func tunnelTarget(t *mesh.Tunnel) string {
	return net.JoinHostPort(t.Host, strconv.FormatUint(uint64(t.Port), 10))
}

// setConnect lets a CONNECT through: it ends here, and what is in it goes to the cluster; or, where the cluster's hosts are proxies that
// are to be asked themselves, it goes on to them with another target.
func setConnect(out *routev3.RouteAction, t *mesh.Tunnel) {
	out.RetryPolicy = nil
	up := &routev3.RouteAction_UpgradeConfig{UpgradeType: "CONNECT"}
	if t == nil {
		up.ConnectConfig = &routev3.RouteAction_UpgradeConfig_ConnectConfig{}
	} else {
		out.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: tunnelTarget(t)}
	}
	out.UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{up}
}
