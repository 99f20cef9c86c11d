package istio

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// authorizer is what envoyExtAuthzHttp and envoyExtAuthzGrpc have in common.
type authorizer interface {
	GetService() string
	GetPort() uint32
	GetTimeout() *durationpb.Duration
	GetStatusOnError() string
	GetIncludeRequestBodyInCheck() *meshconfig.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationRequestBody
}

// validateAuthorizers checks MeshConfig's external authorizers.
func validateAuthorizers(m *Meta, spec *meshconfig.MeshConfig) Diagnostics {
	v := &validator{meta: m}
	for i, p := range spec.GetExtensionProviders() {
		path := index("data.mesh.extensionProviders", i)
		if g := p.GetEnvoyExtAuthzGrpc(); g != nil {
			v.authorizer(path+".envoyExtAuthzGrpc", g)
		}
		h := p.GetEnvoyExtAuthzHttp()
		if h == nil {
			continue
		}
		path += ".envoyExtAuthzHttp"
		v.authorizer(path, h)
		if s := h.GetPathPrefix(); s != "" && !strings.HasPrefix(s, "/") {
			v.fail(path+".pathPrefix", fmt.Sprintf("%q does not begin with /", s), "write /"+s)
		}
		for _, name := range sortedKeys(h.GetIncludeAdditionalHeadersInCheck()) {
			if !headerName(name) {
				v.fail(join(path+".includeAdditionalHeadersInCheck", name), fmt.Sprintf("%q is not a header's name", name), "")
			}
		}
		for _, l := range []texts{
			{"includeHeadersInCheck", h.GetIncludeHeadersInCheck()}, {"includeRequestHeadersInCheck", h.GetIncludeRequestHeadersInCheck()},
			{"headersToUpstreamOnAllow", h.GetHeadersToUpstreamOnAllow()}, {"headersToDownstreamOnDeny", h.GetHeadersToDownstreamOnDeny()},
			{"headersToDownstreamOnAllow", h.GetHeadersToDownstreamOnAllow()},
		} {
			for j, s := range l.values {
				if s != "*" && !headerName(strings.Trim(s, "*")) {
					v.fail(index(path+"."+l.name, j), fmt.Sprintf("%q is not a header's name, nor name* or *name", s), "")
				}
			}
		}
	}
	return v.diags
}

func (v *validator) authorizer(path string, a authorizer) {
	v.required(path+".service", a.GetService())
	v.port(path+".port", a.GetPort())
	v.positive(path+".timeout", a.GetTimeout(), "")
	if s := a.GetStatusOnError(); s != "" {
		if n, err := strconv.Atoi(s); err != nil || n < 200 || http.StatusText(n) == "" {
			v.fail(path+".statusOnError", fmt.Sprintf("%q is no HTTP status", s), `write for example "503"`)
		}
	}
	if b := a.GetIncludeRequestBodyInCheck(); b != nil && b.GetMaxRequestBytes() == 0 {
		v.fail(path+".includeRequestBodyInCheck.maxRequestBytes", "maxRequestBytes must be more than 0", "")
	}
}
