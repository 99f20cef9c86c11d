package compile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	meshconfig "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"
)

// builtinLog is the log provider that a mesh has without asking.
const builtinLog = "envoy"

// accessLogs lowers the access logging of Telemetries, oldest first, and MeshConfig's log providers.
func (c *compiler) accessLogs() {
	providers := c.logProviders()
	logs := &mesh.Logs{Default: c.defaultLogs(providers)}
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		if p := providers[name]; p.Hostname != "" {
			logs.Providers = append(logs.Providers, p)
		}
	}
	logs.Policies = telemetries(c, "access logging", (*telemetry.Telemetry).GetAccessLogging,
		func(m *istio.Meta, b mesh.Bearing, in []*telemetry.AccessLogging) *mesh.LogPolicy {
			p := &mesh.LogPolicy{Bearing: b}
			for i, r := range in {
				p.Rules = append(p.Rules, c.logRule(m, index("spec.accessLogging", i), r, providers))
			}
			return p
		})
	if len(logs.Default)+len(logs.Policies) > 0 {
		c.world.Logs = logs
	}
}

func (c *compiler) logRule(m *istio.Meta, path string, in *telemetry.AccessLogging, providers map[string]*mesh.LogProvider) *mesh.LogRule {
	r := &mesh.LogRule{Disabled: in.GetDisabled().GetValue(), Filter: in.GetFilter().GetExpression()}
	r.Client, r.Server = sides(in.GetMatch().GetMode())
	for i, ref := range in.GetProviders() {
		r.Named = true
		if p := providers[ref.GetName()]; p != nil {
			r.Providers = append(r.Providers, p)
			continue
		}
		c.report(m, index(path+".providers", i)+".name", istio.Error, codeNotFound,
			fmt.Sprintf("no log provider %q that exists: nothing is written there", ref.GetName()),
			"write one of "+strings.Join(slices.Sorted(maps.Keys(providers)), ", ")+", or add it to MeshConfig's extensionProviders")
	}
	return r
}

// defaultLogs are MeshConfig's defaultProviders.accessLogging, or else its accessLogFile.
func (c *compiler) defaultLogs(providers map[string]*mesh.LogProvider) []*mesh.LogProvider {
	if c.set.Mesh == nil {
		return nil
	}
	spec, m := c.set.Mesh.Spec, &c.set.Mesh.Meta
	names := spec.GetDefaultProviders().GetAccessLogging()
	if path := spec.GetAccessLogFile(); path != "" && len(names) == 0 {
		p := &mesh.LogProvider{Name: "accessLogFile", Kind: mesh.LogFile, Path: path, Origin: origin(m, "data.mesh.accessLogFile")}
		meshFormat(p, spec)
		return []*mesh.LogProvider{p}
	}
	var out []*mesh.LogProvider
	for i, name := range names {
		if p := providers[name]; p != nil {
			out = append(out, p)
			continue
		}
		c.report(m, index("data.mesh.defaultProviders.accessLogging", i), istio.Error, codeNotFound,
			fmt.Sprintf("no log provider %q that exists: nothing is written there", name),
			"write one of "+strings.Join(slices.Sorted(maps.Keys(providers)), ", "))
	}
	return out
}

// meshFormat gives a file the format that MeshConfig has for its own.
func meshFormat(p *mesh.LogProvider, spec *meshconfig.MeshConfig) {
	p.Format, p.Object = spec.GetAccessLogFormat(), spec.GetAccessLogEncoding() == meshconfig.MeshConfig_JSON
}

// logProviders lowers MeshConfig's log providers, those whose service exists, by name; and the one that every mesh has.
func (c *compiler) logProviders() map[string]*mesh.LogProvider {
	own := &mesh.LogProvider{Name: builtinLog, Kind: mesh.LogFile, Path: "/dev/stdout"}
	if c.set.Mesh == nil {
		return map[string]*mesh.LogProvider{builtinLog: own}
	}
	out := map[string]*mesh.LogProvider{}
	taken := map[string]bool{} // the first of a name counts, whatever it is
	for i, in := range c.set.Mesh.Spec.GetExtensionProviders() {
		path := index("data.mesh.extensionProviders", i)
		p := &mesh.LogProvider{Name: in.GetName(), Origin: origin(&c.set.Mesh.Meta, path)}
		ok := !taken[p.Name] && c.logProvider(p, path, in)
		taken[p.Name] = true
		if ok {
			out[p.Name] = p
		}
	}
	if !taken[builtinLog] {
		meshFormat(own, c.set.Mesh.Spec)
		out[builtinLog] = own
	}
	return out
}

// logProvider fills p; false: it is none, or has no service.
func (c *compiler) logProvider(p *mesh.LogProvider, path string, in *meshconfig.MeshConfig_ExtensionProvider) bool {
	switch k := in.GetProvider().(type) {
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyFileAccessLog:
		c.fileProvider(p, k.EnvoyFileAccessLog)
		return true
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyHttpAls:
		a := k.EnvoyHttpAls
		p.Kind, p.Port, p.LogName, p.FilterState = mesh.LogHTTP, a.GetPort(), a.GetLogName(), a.GetFilterStateObjectsToLog()
		p.RequestHeaders, p.ResponseHeaders = a.GetAdditionalRequestHeadersToLog(), a.GetAdditionalResponseHeadersToLog()
		p.ResponseTrailers = a.GetAdditionalResponseTrailersToLog()
		return c.logService(p, path+".envoyHttpAls", a.GetService())
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyTcpAls:
		a := k.EnvoyTcpAls
		p.Kind, p.Port, p.LogName, p.FilterState = mesh.LogTCP, a.GetPort(), a.GetLogName(), a.GetFilterStateObjectsToLog()
		return c.logService(p, path+".envoyTcpAls", a.GetService())
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyOtelAls:
		a := k.EnvoyOtelAls
		p.Kind, p.Port, p.LogName = mesh.LogOTLP, a.GetPort(), a.GetLogName()
		p.Format, p.Attributes = a.GetLogFormat().GetText(), jsonObject(a.GetLogFormat().GetLabels())
		return c.logService(p, path+".envoyOtelAls", a.GetService())
	}
	return false
}

func (c *compiler) fileProvider(p *mesh.LogProvider, in *meshconfig.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider) {
	p.Kind, p.Path, p.OmitEmpty = mesh.LogFile, in.GetPath(), in.GetOmitEmptyValues()
	if p.Path == "" {
		p.Path = "/dev/stdout"
	}
	switch f := in.GetLogFormat().GetLogFormat().(type) {
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider_LogFormat_Text:
		p.Format = f.Text
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider_LogFormat_Labels:
		p.Format, p.Object = jsonObject(f.Labels), true
	default:
		if p.Name == builtinLog {
			meshFormat(p, c.set.Mesh.Spec)
		}
	}
}

// logService finds the provider's service, which is to speak gRPC.
func (c *compiler) logService(p *mesh.LogProvider, path, service string) (ok bool) {
	if p.Hostname, ok = c.providerHost("log provider", p.Name, path, service, p.Port, ": nothing is written there"); !ok {
		return false
	}
	for _, s := range c.byHost[p.Hostname] {
		if port := s.PortByNumber(p.Port); port != nil && port.Protocol != mesh.GRPC && port.Protocol != mesh.HTTP2 {
			c.report(&c.set.Mesh.Meta, path+".port", istio.Warning, istio.CodeTrap,
				fmt.Sprintf("port %d of %s is %s, and log entries go by gRPC: they do not get through", p.Port, p.Hostname, port.Protocol),
				"call the service's port grpc, or write appProtocol: grpc")
			break
		}
	}
	return true
}

// jsonObject is a struct as JSON with sorted keys; "" if there is none.
func jsonObject(s *structpb.Struct) string {
	if s == nil {
		return ""
	}
	raw, err := protojson.Marshal(s)
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return ""
	}
	return b.String()
}
