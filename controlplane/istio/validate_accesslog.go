package istio

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	meshconfig "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio/cel"
)

// validateLogFormat checks MeshConfig's own format: for JSON it is an object.
func validateLogFormat(m *Meta, spec *meshconfig.MeshConfig) Diagnostics {
	v := &validator{meta: m}
	f := spec.GetAccessLogFormat()
	if f == "" {
		return nil
	}
	const path = "data.mesh.accessLogFormat"
	if spec.GetAccessLogEncoding() != meshconfig.MeshConfig_JSON {
		v.logFormat(path, f)
		return v.diags
	}
	var object map[string]any
	if json.Unmarshal([]byte(f), &object) != nil {
		v.fail(path, "accessLogEncoding JSON wants a JSON object of formats", `write {"code": "%RESPONSE_CODE%"}`)
	}
	v.logFormats(path, object)
	return v.diags
}

// logProviders checks MeshConfig's access log providers.
func (v *validator) logProvider(path string, in *meshconfig.MeshConfig_ExtensionProvider) {
	switch p := in.GetProvider().(type) {
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyFileAccessLog:
		path += ".envoyFileAccessLog"
		f := p.EnvoyFileAccessLog.GetLogFormat()
		v.logFormat(path+".logFormat.text", f.GetText())
		v.logLabels(path+".logFormat.labels", f.GetLabels())
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyHttpAls:
		a := p.EnvoyHttpAls
		path += ".envoyHttpAls"
		v.logService(path, a.GetService(), a.GetPort())
		for _, l := range []texts{
			{"additionalRequestHeadersToLog", a.GetAdditionalRequestHeadersToLog()}, {"additionalResponseHeadersToLog", a.GetAdditionalResponseHeadersToLog()},
			{"additionalResponseTrailersToLog", a.GetAdditionalResponseTrailersToLog()},
		} {
			for i, h := range l.values {
				if !headerName(strings.TrimPrefix(h, ":")) {
					v.fail(index(path+"."+l.name, i), "not a header's name", "")
				}
			}
		}
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyTcpAls:
		v.logService(path+".envoyTcpAls", p.EnvoyTcpAls.GetService(), p.EnvoyTcpAls.GetPort())
	case *meshconfig.MeshConfig_ExtensionProvider_EnvoyOtelAls:
		path += ".envoyOtelAls"
		v.logService(path, p.EnvoyOtelAls.GetService(), p.EnvoyOtelAls.GetPort())
		f := p.EnvoyOtelAls.GetLogFormat()
		v.logFormat(path+".logFormat.text", f.GetText())
		v.logLabels(path+".logFormat.labels", f.GetLabels())
	}
}

func (v *validator) logService(path, service string, port uint32) {
	v.required(path+".service", service)
	v.port(path+".port", port)
}

func (v *validator) logLabels(path string, labels *structpb.Struct) {
	if labels != nil {
		v.logFormats(path, labels.AsMap())
	}
}

// accessLogging checks one entry of a Telemetry.
func (v *validator) accessLogging(path string, in *telemetry.AccessLogging) {
	for i, p := range in.GetProviders() {
		v.required(index(path+".providers", i)+".name", p.GetName())
	}
	if in.GetFilter() == nil {
		return
	}
	path += ".filter.expression"
	if e := in.GetFilter().GetExpression(); e != "" {
		if err := cel.Condition(e); err != nil {
			v.fail(path, err.Error(), err.Fix)
		}
	}
}
