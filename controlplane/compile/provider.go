package compile

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// Protocols of tracing providers, as mesh.TraceProvider has them.
const (
	zipkinProtocol   = "zipkin"
	otlpHTTPProtocol = "otlp-http"
	otlpGRPCProtocol = "otlp-grpc"
	skywalking       = "skywalking"
	datadog          = "datadog"
)

// providers lowers MeshConfig's tracing providers whose service exists, by name.
func (c *compiler) providers() map[string]*mesh.TraceProvider {
	out := map[string]*mesh.TraceProvider{}
	if c.set.Mesh == nil {
		return out
	}
	for i, in := range c.set.Mesh.Spec.GetExtensionProviders() {
		path := index("data.mesh.extensionProviders", i)
		p := &mesh.TraceProvider{Name: in.GetName(), Origin: origin(&c.set.Mesh.Meta, path)}
		service := ""
		if z := in.GetZipkin(); z != nil {
			path += ".zipkin"
			service = zipkinProvider(p, z)
		} else if o := in.GetOpentelemetry(); o != nil {
			path += ".opentelemetry"
			service = otlpProvider(p, o)
		} else if w := in.GetSkywalking(); w != nil {
			path += ".skywalking"
			p.Protocol, p.Port, p.Token, service = skywalking, w.GetPort(), w.GetAccessToken(), w.GetService()
		} else if d := in.GetDatadog(); d != nil {
			path += ".datadog"
			p.Protocol, p.Port, p.MaxTagLength, service = datadog, d.GetPort(), d.GetMaxTagLength(), d.GetService()
		}
		p.MaxTagLength = cmp.Or(p.MaxTagLength, c.pathTagLength())
		if service == "" || out[p.Name] != nil || !c.providerService(p, path, service) || !c.providerCall(p, path) {
			continue
		}
		out[p.Name] = p
	}
	return out
}

// pathTagLength is the MaxTagLength of providers that say none.
func (c *compiler) pathTagLength() uint32 {
	return c.meshConfig().GetDefaultConfig().GetTracing().GetMaxPathTagLength()
}

func zipkinProvider(p *mesh.TraceProvider, in *meshconfig.MeshConfig_ExtensionProvider_ZipkinTracingProvider) string {
	p.Protocol, p.Port, p.Path = zipkinProtocol, in.GetPort(), in.GetPath()
	p.Timeout, p.MaxTagLength = duration(in.GetTimeout()), in.GetMaxTagLength()
	p.W3C = in.GetTraceContextOption() == meshconfig.MeshConfig_ExtensionProvider_ZipkinTracingProvider_USE_B3_WITH_W3C_PROPAGATION
	p.Headers = traceHeaders(in.GetHeaders())
	return in.GetService()
}

func traceHeaders(in []*meshconfig.MeshConfig_ExtensionProvider_HttpHeader) []mesh.TraceHeader {
	var out []mesh.TraceHeader
	for _, h := range in {
		out = append(out, mesh.TraceHeader{Name: h.GetName(), Value: h.GetValue()})
	}
	return out
}

// otlpProvider is OTLP over gRPC unless http is there, as in Istio.
func otlpProvider(p *mesh.TraceProvider, in *meshconfig.MeshConfig_ExtensionProvider_OpenTelemetryTracingProvider) string {
	p.Protocol, p.Port, p.MaxTagLength = otlpGRPCProtocol, in.GetPort(), in.GetMaxTagLength()
	headers := in.GetGrpc().GetInitialMetadata()
	p.Timeout = duration(in.GetGrpc().GetTimeout())
	if h := in.GetHttp(); h != nil {
		p.Protocol, p.Path, p.Timeout = otlpHTTPProtocol, h.GetPath(), duration(h.GetTimeout())
		headers = h.GetHeaders()
	}
	p.Headers = traceHeaders(headers)
	if in.GetResourceDetectors().GetEnvironment() != nil {
		p.Detectors = append(p.Detectors, "environment")
	}
	if in.GetResourceDetectors().GetDynatrace() != nil {
		p.Detectors = append(p.Detectors, "dynatrace")
	}
	return in.GetService()
}

// providerHost finds the service that a provider of MeshConfig names, "[namespace/]hostname" as Istio writes it; false, with a
// diagnostic, if there is none, or it lacks the port. path leads to the provider, what says of which kind it is, and lost what comes
// of it ("": no more than that).
func (c *compiler) providerHost(what, name, path, service string, port uint32, lost string) (string, bool) {
	m := &c.set.Mesh.Meta
	namespace, host, ok := strings.Cut(service, "/")
	if !ok {
		namespace, host = c.world.Settings.RootNamespace, service
	}
	fqdn := c.fqdn(host, namespace)
	if ok && len(c.byHost[fqdn]) == 0 && !strings.HasSuffix(fqdn, "."+c.world.Settings.DomainSuffix) {
		fqdn = c.serviceFQDN(host, namespace)
	}
	list := c.byHost[fqdn]
	if len(list) == 0 {
		c.report(m, path+".service", istio.Error, codeNotFound,
			fmt.Sprintf("service %s of %s %s not found%s", fqdn, what, name, lost), "write NAMESPACE/HOST of a Service or ServiceEntry")
		return "", false
	}
	if !slices.ContainsFunc(list, func(s *mesh.Service) bool { return s.PortByNumber(port) != nil }) {
		c.report(m, path+".port", istio.Error, codeNotFound, fmt.Sprintf("service %s of %s %s has no port %d%s", fqdn, what, name, port, lost), "")
		return "", false
	}
	return fqdn, true
}

// providerService finds a tracing provider's service. path leads to the provider, or to the text that names the service.
func (c *compiler) providerService(p *mesh.TraceProvider, path, service string) (ok bool) {
	p.Hostname, ok = c.providerHost("tracing provider", p.Name, path, service, p.Port, ": it gets no spans")
	return ok
}

// slowestReport is how long a report of spans may take at most: the tracing policy takes no more.
const slowestReport = time.Minute

// providerCall checks how the provider is called; false, with a diagnostic, if a proxy would refuse that.
func (c *compiler) providerCall(p *mesh.TraceProvider, path string) bool {
	message, fix := "", ""
	switch {
	case p.Timeout != 0 && (p.Timeout < time.Millisecond || p.Timeout > slowestReport):
		message, fix = fmt.Sprintf("timeout %s of tracing provider %s is not from 1ms to %s: it gets no spans", p.Timeout, p.Name, slowestReport), "leave timeout out for 5s"
	case p.Path != "" && (p.Path[0] != '/' || strings.ContainsFunc(p.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f })):
		message, fix = fmt.Sprintf("path %q of tracing provider %s is no path of a URL: it gets no spans", p.Path, p.Name), "write a '/', then letters without blanks"
	default:
		return true
	}
	c.report(&c.set.Mesh.Meta, path, istio.Error, istio.CodeSchema, message, fix)
	return false
}

// defaultProvider is the first of MeshConfig's defaultProviders.tracing, as in Istio.
func (c *compiler) defaultProvider(providers map[string]*mesh.TraceProvider) *mesh.TraceProvider {
	if c.set.Mesh == nil {
		return nil
	}
	names := c.set.Mesh.Spec.GetDefaultProviders().GetTracing()
	if len(names) == 0 {
		return c.oldProvider()
	}
	p := providers[names[0]]
	if p == nil {
		c.noProvider(&c.set.Mesh.Meta, "data.mesh.defaultProviders.tracing[0]", names[0], providers)
	}
	return p
}

// oldProvider is the Zipkin of defaultConfig.tracing, which is in force unless enableTracing is false: where meshes had their
// collector before there were providers.
func (c *compiler) oldProvider() *mesh.TraceProvider {
	spec, path := c.set.Mesh.Spec, "data.mesh.defaultConfig.tracing.zipkin.address"
	address := spec.GetDefaultConfig().GetTracing().GetZipkin().GetAddress()
	if _, said := c.set.Mesh.Places["data.mesh.enableTracing"]; address == "" || said && !spec.GetEnableTracing() {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		c.report(&c.set.Mesh.Meta, path, istio.Error, istio.CodeSchema, fmt.Sprintf("%q is no host and port: no spans are reported", address), "write for example zipkin.istio-system:9411")
		return nil
	}
	p := &mesh.TraceProvider{Name: "defaultConfig", Protocol: zipkinProtocol, Port: uint32(number), MaxTagLength: c.pathTagLength(), Origin: origin(&c.set.Mesh.Meta, path)}
	if name, namespace, ok := strings.Cut(host, "."); ok && !strings.Contains(namespace, ".") {
		host = namespace + "/" + name
	}
	if !c.providerService(p, path, host) {
		return nil
	}
	return p
}

func used(providers map[string]*mesh.TraceProvider) []*mesh.TraceProvider {
	var out []*mesh.TraceProvider
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		out = append(out, providers[name])
	}
	return out
}
