package istio

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func validateGateway(o *Object[gw]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if len(o.Spec.Servers) == 0 {
		v.fail("spec.servers", "servers is required", "")
	}
	v.labels("spec.selector", o.Spec.Selector)
	names := map[string]bool{}
	for i, s := range o.Spec.Servers {
		path := index("spec.servers", i)
		v.server(s, path)
		if n := s.Port.GetName(); n != "" {
			if names[n] {
				v.fail(path+".port.name", fmt.Sprintf("port name %q stands twice", n), "name each server's port on its own")
			}
			names[n] = true
		}
	}
	return v.diags
}

func (v *validator) server(s *networking.Server, path string) {
	if len(s.Hosts) == 0 {
		v.fail(path+".hosts", "hosts is required", `write ["*"] for every host`)
	}
	for i, h := range s.Hosts {
		v.gatewayHost(index(path+".hosts", i), h)
	}
	if s.Bind != "" && !isIP(s.Bind) {
		v.fail(path+".bind", fmt.Sprintf("%q is not an IP address", s.Bind), "")
	}
	if s.Port == nil {
		v.fail(path, "port is required", "add port: {number: 80, name: http, protocol: HTTP}")
		return
	}
	v.port(path+".port.number", s.Port.Number)
	v.required(path+".port.name", s.Port.Name)
	if v.required(path+".port.protocol", s.Port.Protocol) {
		v.portProtocol(path+".port.protocol", s.Port.Protocol)
		v.serverTLS(s, path)
	}
}

// gatewayHost checks [NAMESPACE/]HOST; the namespace may be "*" or ".".
func (v *validator) gatewayHost(path, h string) {
	host := h
	if ns, name, ok := strings.Cut(h, "/"); ok {
		host = name
		if ns != "*" && ns != "." && !label(ns) {
			v.fail(path, fmt.Sprintf("%q is not a namespace", ns), `write "*", "." or a namespace before the '/'`)
			return
		}
	}
	if !wildcard(host) && !isIP(host) {
		v.fail(path, fmt.Sprintf("%q is not a host", host), "write a name, *.domain or *, without scheme or port")
	}
}
