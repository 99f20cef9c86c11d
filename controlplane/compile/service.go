package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	corev1 "k8s.io/api/core/v1"
)

// exportAnnotation is Istio's exportTo of a Kubernetes Service.
const exportAnnotation = "networking.istio.io/exportTo"

// literalLabel is Istio's, which Knative's own gateways have: their servers name the pods' ports.
const literalLabel = "experimental.istio.io/disable-gateway-port-translation"

// services lowers the Kubernetes Services.
func (c *compiler) services() {
	for _, o := range c.set.Services {
		s := &mesh.Service{
			Hostname:   c.serviceFQDN(o.Name, o.Namespace),
			Namespace:  o.Namespace,
			ShortName:  o.Name,
			Addresses:  canonical(clusterIPs(o.Spec)),
			Selector:   o.Spec.Spec.Selector,
			Visibility: visibility(exportOr(serviceExport(o), c.meshConfig().GetDefaultServiceExportTo()), o.Namespace),
			Created:    o.CreationTimestamp,
			Origin:     origin(&o.Meta, ""),
		}
		_, s.Literal = o.Labels[literalLabel]
		if len(s.Selector) == 0 {
			s.Selector = nil
		}
		for i, p := range o.Spec.Spec.Ports {
			if p.Protocol == corev1.ProtocolUDP || p.Protocol == corev1.ProtocolSCTP {
				continue // Istio, too, leaves them out of the mesh
			}
			s.Ports = append(s.Ports, c.servicePort(o, i, p))
		}
		sortPorts(s.Ports)
		if o.Spec.Spec.Type == corev1.ServiceTypeExternalName {
			c.externalName(s, o.Spec.Spec.ExternalName)
		}
		c.world.Services = append(c.world.Services, s)
	}
}

// externalName makes the Service an alias that Envoy resolves.
func (c *compiler) externalName(s *mesh.Service, name string) {
	s.Resolution, s.Selector = mesh.ResolutionDNS, nil
	s.DNSEndpoints = []*mesh.Endpoint{{Address: name, Ready: true}}
	for _, p := range s.Ports {
		c.addEndpoints(s, p.Number, &mesh.Endpoint{Address: name, Port: p.Number, Ready: true})
	}
}

func (c *compiler) servicePort(o *istio.Object[*corev1.Service], i int, p corev1.ServicePort) *mesh.Port {
	out := &mesh.Port{Number: uint32(p.Port), Name: p.Name, TargetPort: uint32(p.Port)}
	switch {
	case p.TargetPort.StrVal != "":
		out.TargetPort, out.TargetName = 0, p.TargetPort.StrVal
	case p.TargetPort.IntVal > 0:
		out.TargetPort = uint32(p.TargetPort.IntVal)
	}
	app := ""
	if p.AppProtocol != nil {
		app = *p.AppProtocol
	}
	named := false
	if out.Protocol, named = portProtocol(app, p.Name, out.Number); !named {
		c.report(&o.Meta, fmt.Sprintf("spec.ports[%d]", i), istio.Info, codePortName,
			fmt.Sprintf("port %d is named %q, which tells no protocol: %s", p.Port, p.Name, unnamed(out.Protocol)),
			"name it <protocol>[-<suffix>], for example http-web or tcp-db, or set appProtocol")
	}
	return out
}

// unnamed says what becomes of a port whose name tells nothing.
func unnamed(p mesh.Protocol) string {
	if p == mesh.Detected {
		return "the first bytes of each connection do, which cannot be waited for where the server speaks first"
	}
	return fmt.Sprintf("it is taken for %s, which is usual on that number", p)
}

// portProtocol follows Istio's naming convention: appProtocol, then the name up to the first "-", then what is usual on
// the number. Else it is detected; named is false then.
func portProtocol(app, name string, number uint32) (p mesh.Protocol, named bool) {
	word := strings.ToLower(cmp.Or(app, name))
	if p, ok := kubernetesProtocols[word]; ok && app != "" {
		return p, true
	}
	if strings.HasPrefix(word, "grpc-web") {
		return mesh.GRPC, true
	}
	word, _, _ = strings.Cut(word, "-")
	if p, ok := protocols[word]; ok {
		return p, true
	}
	if p, ok := usual[number]; ok {
		return p, false
	}
	return mesh.Detected, false
}

// kubernetesProtocols are those that Kubernetes itself names, in appProtocol only.
var kubernetesProtocols = map[string]mesh.Protocol{
	"kubernetes.io/h2c": mesh.HTTP2, "kubernetes.io/ws": mesh.HTTP, "kubernetes.io/wss": mesh.HTTPS,
}

var protocols = map[string]mesh.Protocol{
	"http": mesh.HTTP, "http1": mesh.HTTP, "ws": mesh.HTTP, "http2": mesh.HTTP2, "h2c": mesh.HTTP2,
	"grpc": mesh.GRPC, "https": mesh.HTTPS, "wss": mesh.TLS, "tls": mesh.TLS,
	"tcp": mesh.TCP, "mongo": mesh.TCP, "redis": mesh.TCP, "mysql": mesh.TCP, "postgresql": mesh.TCP, "postgres": mesh.TCP,
}

// usual are ports where the server speaks first, so that nothing could be detected, as Istio has them and that of SSH; and that of
// HTTPS, where server names tell more than detection would.
var usual = map[uint32]mesh.Protocol{
	22: mesh.TCP, 25: mesh.TCP, 53: mesh.TCP, 3306: mesh.TCP, 27017: mesh.TCP, 443: mesh.HTTPS,
}

// specProtocol reads the protocol that a Gateway, ServiceEntry or Sidecar port spells out; unknown ones are TCP, and none at all is
// detected.
func specProtocol(word string) mesh.Protocol {
	switch w := strings.ToLower(word); w {
	case "":
		return mesh.Detected
	case "grpc-web":
		return mesh.GRPC
	case "http_proxy":
		return mesh.HTTP
	default:
		return cmp.Or(protocols[w], mesh.TCP)
	}
}

func (c *compiler) serviceFQDN(name, namespace string) string {
	return mesh.ServiceHost(name, namespace, c.world.Settings.DomainSuffix)
}

// clusterIPs returns the virtual addresses; a headless Service has none.
func clusterIPs(s *corev1.Service) []string {
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 && s.Spec.ClusterIP != "" {
		ips = []string{s.Spec.ClusterIP}
	}
	var out []string
	for _, ip := range ips {
		if ip != "" && ip != corev1.ClusterIPNone {
			out = append(out, ip)
		}
	}
	return out
}

func serviceExport(o *istio.Object[*corev1.Service]) []string {
	v := o.Annotations[exportAnnotation]
	if v == "" {
		return nil
	}
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// exportOr falls back on MeshConfig's default.
func exportOr(own, otherwise []string) []string {
	if len(own) == 0 {
		return otherwise
	}
	return own
}

// visibility lowers exportTo: nothing said and "*" are everywhere, "~" is nowhere.
func visibility(exportTo []string, namespace string) mesh.Visibility {
	if len(exportTo) == 0 || slices.Contains(exportTo, "*") {
		return nil
	}
	v := mesh.Visibility{}
	for _, e := range exportTo {
		switch e {
		case ".":
			v[namespace] = true
		case "~", "":
		default:
			v[e] = true
		}
	}
	return v
}

func sortPorts(ports []*mesh.Port) {
	slices.SortStableFunc(ports, func(a, b *mesh.Port) int { return cmp.Compare(a.Number, b.Number) })
}
