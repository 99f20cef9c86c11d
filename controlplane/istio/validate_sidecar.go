package istio

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func validateSidecar(o *Object[sc]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if s := o.Spec.WorkloadSelector; s != nil {
		v.labels("spec.workloadSelector.labels", s.Labels)
		if len(s.Labels) == 0 {
			v.trap("spec.workloadSelector", "an empty selector selects the whole namespace", "take it away if that is meant")
		}
	}
	v.ingress(o.Spec)
	v.inboundPool(o.Spec.InboundConnectionPool, "spec.inboundConnectionPool")
	if p := o.Spec.OutboundTrafficPolicy; p.GetEgressProxy() != nil {
		v.required("spec.outboundTrafficPolicy.egressProxy.host", p.EgressProxy.Host)
		if p.Mode != networking.OutboundTrafficPolicy_ALLOW_ANY {
			v.fail("spec.outboundTrafficPolicy.egressProxy", "egressProxy goes with mode ALLOW_ANY only", "write mode: ALLOW_ANY")
		}
		if p.EgressProxy.GetPort().GetNumber() == 0 {
			v.fail("spec.outboundTrafficPolicy.egressProxy", "port is required", "add port: {number: N}")
		}
	}
	rest := 0
	for i, e := range o.Spec.Egress {
		path := index("spec.egress", i)
		if len(e.Hosts) == 0 {
			v.fail(path+".hosts", "hosts is required", `write "*/*" for everything, "./*" for this namespace, "~/*" for nothing`)
		}
		for j, h := range e.Hosts {
			v.egressHost(index(path+".hosts", j), h)
		}
		v.egressBind(path, e)
		if e.Port != nil {
			if !strings.HasPrefix(e.Bind, "unix://") {
				v.port(path+".port.number", e.Port.Number)
			}
			v.portProtocol(path+".port.protocol", e.Port.Protocol)
		} else if rest++; rest > 1 {
			v.fail(path, "a second egress without port", "put its hosts into the first")
		}
	}
	return v.diags
}

// egressBind checks where an egress listens.
func (v *validator) egressBind(path string, e *networking.IstioEgressListener) {
	socket := strings.HasPrefix(e.Bind, "unix://")
	switch {
	case e.Bind == "" && e.CaptureMode != networking.CaptureMode_NONE:
	case e.Port == nil:
		v.fail(path, "bind and captureMode: NONE are of one listener, which needs a port", "add port: {number: N, protocol: HTTP, name: http}")
	case socket && len(e.Bind) <= len("unix://@"):
		v.fail(path+".bind", fmt.Sprintf("%q names no socket", e.Bind), "write unix:///PATH or unix://@NAME")
	case socket && e.Port.Number != 0:
		v.fail(path+".port.number", "a Unix socket has no port", "write number: 0")
	case socket && e.CaptureMode == networking.CaptureMode_IPTABLES:
		v.fail(path+".captureMode", "nothing is captured for a Unix socket", "leave it out, or write NONE")
	case e.Bind != "" && !socket && !isIP(e.Bind):
		v.fail(path+".bind", fmt.Sprintf("%q is neither an IP address nor unix:///PATH", e.Bind), "")
	}
}

// ingress checks the ports that a workload is said to have.
func (v *validator) ingress(s *networking.Sidecar) {
	seen := map[uint32]bool{}
	for i, in := range s.Ingress {
		path := index("spec.ingress", i)
		if in.Port == nil {
			v.fail(path+".port", "port is required", "add port: {number: N, protocol: HTTP, name: http}")
			continue
		}
		v.port(path+".port.number", in.Port.Number)
		if seen[in.Port.Number] {
			v.fail(path+".port.number", fmt.Sprintf("port %d stands twice", in.Port.Number), "keep one")
		}
		seen[in.Port.Number] = true
		v.portProtocol(path+".port.protocol", in.Port.Protocol)
		if in.Bind != "" && !isIP(in.Bind) {
			v.fail(path+".bind", fmt.Sprintf("%q is not an IP address", in.Bind), "leave it out for the workload's own")
		}
		v.defaultEndpoint(in.DefaultEndpoint, path+".defaultEndpoint")
		v.inboundPool(in.ConnectionPool, path+".connectionPool")
	}
}

// defaultEndpoint checks where the application listens.
func (v *validator) defaultEndpoint(e, path string) {
	if e == "" || strings.HasPrefix(e, "unix:///") || strings.HasPrefix(e, "unix://@") {
		return
	}
	host, port, err := net.SplitHostPort(e)
	n, bad := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || bad != nil || n == 0:
		v.fail(path, fmt.Sprintf("%q is not an address and a port", e), "write 127.0.0.1:PORT, 0.0.0.0:PORT or unix:///PATH")
	case host != "127.0.0.1" && host != "0.0.0.0" && host != "::1" && host != "::":
		v.fail(path, fmt.Sprintf("%q is not this workload", host), "write 127.0.0.1:PORT, 0.0.0.0:PORT or unix:///PATH")
	}
}

// egressHost checks NAMESPACE/HOST, where the namespace may be ".", "*", "~" (nothing) or "~NAMESPACE" (all but).
func (v *validator) egressHost(path, h string) {
	ns, host, ok := strings.Cut(h, "/")
	switch {
	case !ok:
		v.fail(path, fmt.Sprintf("%q lacks a namespace", h), fmt.Sprintf("write %q for any namespace, %q for this one", "*/"+h, "./"+h))
	case ns != "*" && ns != "." && ns != "~" && !label(strings.TrimPrefix(ns, "~")):
		v.fail(path, fmt.Sprintf("%q is not a namespace", ns), `write ".", "*", "~" or a namespace before the '/'`)
	case !wildcard(host):
		v.fail(path, fmt.Sprintf("%q is not a host", host), "write a name, *.domain or * after the '/'")
	}
}

// inboundPool checks the connections to the application itself.
func (v *validator) inboundPool(p *networking.ConnectionPoolSettings, path string) {
	v.connectionPool(p, path)
	if at := path + ".http.h2UpgradePolicy"; v.has(at) {
		v.add(CodeIgnored, Warning, at, "has no effect: the application is spoken to in the version that the caller speaks, as in Istio", "take it away")
	}
}
