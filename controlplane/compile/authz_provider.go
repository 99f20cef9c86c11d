package compile

import (
	"maps"
	"slices"
	"strconv"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// Short names of MeshConfig's types.
type (
	extAuthzHTTP = *meshconfig.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationHttpProvider
	extAuthzGRPC = *meshconfig.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationGrpcProvider
	extAuthzBody = *meshconfig.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationRequestBody
)

// authProviders lowers MeshConfig's external authorizers whose service exists, by name.
func (c *compiler) authProviders() map[string]*mesh.AuthProvider {
	out := map[string]*mesh.AuthProvider{}
	if c.set.Mesh == nil {
		return out
	}
	for i, in := range c.set.Mesh.Spec.GetExtensionProviders() {
		path := index("data.mesh.extensionProviders", i)
		p := &mesh.AuthProvider{Name: in.GetName(), Origin: origin(&c.set.Mesh.Meta, path)}
		service, status := "", ""
		if h := in.GetEnvoyExtAuthzHttp(); h != nil {
			path += ".envoyExtAuthzHttp"
			service, status = h.GetService(), h.GetStatusOnError()
			httpAuthorizer(p, h)
		} else if g := in.GetEnvoyExtAuthzGrpc(); g != nil {
			path += ".envoyExtAuthzGrpc"
			service, status = g.GetService(), g.GetStatusOnError()
			grpcAuthorizer(p, g)
		} else {
			continue
		}
		if n, err := strconv.ParseUint(status, 10, 16); err == nil {
			p.StatusOnError = uint32(n)
		}
		if out[p.Name] == nil && c.authorizerService(p, path, service) {
			out[p.Name] = p
		}
	}
	return out
}

func httpAuthorizer(p *mesh.AuthProvider, in extAuthzHTTP) {
	p.Port, p.Timeout, p.FailOpen = in.GetPort(), duration(in.GetTimeout()), in.GetFailOpen()
	p.ClearRouteCache, p.PathPrefix = in.GetClearRouteCache(), in.GetPathPrefix()
	p.Body = authBody(in.GetIncludeRequestBodyInCheck())
	p.CheckHeaders = headerPatterns(append(slices.Clone(in.GetIncludeRequestHeadersInCheck()), in.GetIncludeHeadersInCheck()...))
	p.UpstreamHeaders = headerPatterns(in.GetHeadersToUpstreamOnAllow())
	p.DenyHeaders = headerPatterns(in.GetHeadersToDownstreamOnDeny())
	p.AllowHeaders = headerPatterns(in.GetHeadersToDownstreamOnAllow())
	add := in.GetIncludeAdditionalHeadersInCheck()
	for _, name := range slices.Sorted(maps.Keys(add)) {
		p.AddHeaders = append(p.AddHeaders, mesh.AuthHeaderValue{Name: name, Value: add[name]})
	}
}

func grpcAuthorizer(p *mesh.AuthProvider, in extAuthzGRPC) {
	p.GRPC = true
	p.Port, p.Timeout, p.FailOpen = in.GetPort(), duration(in.GetTimeout()), in.GetFailOpen()
	p.ClearRouteCache = in.GetClearRouteCache()
	p.Body = authBody(in.GetIncludeRequestBodyInCheck())
}

func authBody(in extAuthzBody) *mesh.AuthBody {
	if in == nil {
		return nil
	}
	return &mesh.AuthBody{MaxBytes: in.GetMaxRequestBytes(), AllowPartial: in.GetAllowPartialMessage(), PackAsBytes: in.GetPackAsBytes()}
}

func headerPatterns(in []string) []mesh.AuthValue {
	var out []mesh.AuthValue
	for _, v := range in {
		out = append(out, pattern(v)...)
	}
	return out
}

// authorizerService finds the authorizer's service.
func (c *compiler) authorizerService(p *mesh.AuthProvider, path, service string) (ok bool) {
	p.Hostname, ok = c.providerHost("external authorizer", p.Name, path, service, p.Port, "")
	return ok
}
