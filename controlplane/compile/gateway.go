package compile

import (
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// gateways lowers Gateway resources, oldest first.
func (c *compiler) gateways() {
	for _, o := range c.set.Gateways {
		g := &mesh.Gateway{Namespace: o.Namespace, Name: o.Name, Selector: o.Spec.GetSelector(), Origin: origin(&o.Meta, "")}
		for i, s := range o.Spec.GetServers() {
			srv := &mesh.Server{
				Port: s.GetPort().GetNumber(), PortName: s.GetPort().GetName(), Protocol: specProtocol(s.GetPort().GetProtocol()),
				Bind: s.GetBind(), HTTPSRedirect: s.GetTls().GetHttpsRedirect(),
				Origin: origin(&o.Meta, index("spec.servers", i)),
			}
			setServerTLS(srv, s)
			defaultTLS(srv.TLS, s, &c.world.Settings)
			for _, h := range s.GetHosts() {
				srv.Hosts = append(srv.Hosts, gatewayHost(h, o.Namespace))
			}
			g.Servers = append(g.Servers, srv)
		}
		c.world.Gateways = append(c.world.Gateways, g)
	}
}

// gatewayHost splits "namespace/host"; "./" is the Gateway's own namespace.
func gatewayHost(h, namespace string) mesh.GatewayHost {
	ns, host, ok := strings.Cut(h, "/")
	if !ok {
		return mesh.GatewayHost{Host: strings.ToLower(h)}
	}
	if ns == "." {
		ns = namespace
	}
	return mesh.GatewayHost{Namespace: ns, Host: strings.ToLower(host)}
}
