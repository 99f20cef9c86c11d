package istio

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	extensions "istio.io/api/extensions/v1alpha1"
	typev1 "istio.io/api/type/v1beta1"
)

// Limits of Istio's schema.
const (
	maxLua      = 64 << 10 // bytes of a script
	maxEnv      = 256      // variables
	maxEnvName  = 256
	maxEnvValue = 2048
	maxPlugin   = 256 // characters of a plugin's name
)

func validateWasmPlugin(o *Object[wp]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	v.policyScope(s.GetSelector(), s.GetTargetRef(), s.GetTargetRefs())
	v.wasm("spec", WasmOf(s))
	for i, m := range s.GetMatch() {
		v.trafficPorts(index("spec.match", i), m.GetPorts())
	}
	return v.diags
}

func validateTrafficExtension(o *Object[te]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	v.policyScope(s.GetSelector(), nil, s.GetTargetRefs())
	switch {
	case s.GetWasm() != nil:
		v.wasm("spec.wasm", s.GetWasm())
	case s.GetLua() != nil:
		v.lua("spec.lua.inlineCode", s.GetLua().GetInlineCode())
	default:
		v.fail("spec", "says neither wasm nor lua", "write one of them")
	}
	for i, m := range s.GetMatch() {
		v.trafficPorts(index("spec.match", i), m.GetPorts())
	}
	return v.diags
}

// WasmOf is what a WasmPlugin says of its module, in TrafficExtension's words.
func WasmOf(s *extensions.WasmPlugin) *extensions.WasmConfig {
	return &extensions.WasmConfig{
		Url: s.GetUrl(), Sha256: s.GetSha256(), ImagePullPolicy: s.GetImagePullPolicy(), ImagePullSecret: s.GetImagePullSecret(),
		PluginConfig: s.GetPluginConfig(), PluginName: s.GetPluginName(), FailStrategy: s.GetFailStrategy(), VmConfig: s.GetVmConfig(),
		Type: s.GetType(),
	}
}

func (v *validator) trafficPorts(path string, ports []*typev1.PortSelector) {
	for i, p := range ports {
		v.port(index(path+".ports", i)+".number", p.GetNumber())
	}
}

func (v *validator) lua(path, code string) {
	if strings.TrimSpace(code) == "" {
		v.fail(path, "an empty script", "define envoy_on_request, envoy_on_response or both")
		return
	}
	if len(code) > maxLua {
		v.fail(path, fmt.Sprintf("a script of %d bytes; at most %d are allowed", len(code), maxLua), "write it as a WebAssembly module")
	}
	if !strings.Contains(code, "envoy_on_request") && !strings.Contains(code, "envoy_on_response") {
		v.trap(path, "defines neither envoy_on_request nor envoy_on_response: nothing calls it", "")
	}
}

// wasm checks what is said of a module, under path.
func (v *validator) wasm(path string, s *extensions.WasmConfig) {
	m, why := ReadModuleURL(s.GetUrl())
	if s.GetUrl() == "" {
		v.required(path+".url", "")
	} else if why != "" {
		v.fail(path+".url", why, "write oci://HOST/REPOSITORY:TAG, https://HOST/PATH or file:///PATH")
	}
	sum := s.GetSha256()
	if b, err := hex.DecodeString(sum); sum != "" && (err != nil || len(b) != 32 || strings.ToLower(sum) != sum) {
		v.fail(path+".sha256", "not a SHA-256 sum: 64 of the digits 0-9 and a-f", "")
	} else if sum != "" && m.Digest != "" && sum != m.Digest {
		v.fail(path+".sha256", "the url names another sum", "keep one of the two")
	}
	v.pull(path, s, m)
	if v.has(path+".pluginName") && s.GetPluginName() == "" || len(s.GetPluginName()) > maxPlugin {
		v.fail(path+".pluginName", fmt.Sprintf("must have 1 to %d characters", maxPlugin), "")
	}
	v.pluginEnv(path+".vmConfig.env", s.GetVmConfig().GetEnv())
}

// pull checks how a module is to be fetched.
func (v *validator) pull(path string, s *extensions.WasmConfig, m ModuleURL) {
	if s.GetImagePullSecret() != "" && m.Scheme != "" && m.Scheme != "oci" {
		v.trap(path+".imagePullSecret", "it is for images only: "+m.Scheme+" is fetched without", "")
	}
	if s.GetImagePullPolicy() == extensions.PullPolicy_UNSPECIFIED_POLICY {
		return
	}
	switch {
	case m.Scheme == "file":
		v.trap(path+".imagePullPolicy", "a file is read whenever it changes, whatever the policy", "")
	case m.Digest != "" || s.GetSha256() != "":
		v.trap(path+".imagePullPolicy", "what has a sum is fetched once, whatever the policy", "")
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (v *validator) pluginEnv(path string, env []*extensions.EnvVar) {
	if len(env) > maxEnv {
		v.fail(path, fmt.Sprintf("%d variables; at most %d are allowed", len(env), maxEnv), "")
	}
	seen := map[string]bool{}
	for i, e := range env {
		at := index(path, i)
		name := e.GetName()
		switch {
		case name == "":
			v.required(at+".name", name)
		case !envName.MatchString(name) || len(name) > maxEnvName:
			v.fail(at+".name", fmt.Sprintf("%q is not the name of a variable: letters, digits and _, no digit first", name), "")
		case seen[name]:
			v.fail(at+".name", fmt.Sprintf("%q stands twice", name), "keep one")
		}
		seen[name] = true
		if len(e.GetValue()) > maxEnvValue {
			v.fail(at+".value", fmt.Sprintf("%d characters; at most %d are allowed", len(e.GetValue()), maxEnvValue), "")
		}
		if e.GetValueFrom() == extensions.EnvValueSource_HOST && e.GetValue() != "" {
			v.fail(at+".value", "valueFrom HOST takes the value of the proxy's own variable", "take value away, or write valueFrom: INLINE")
		}
	}
}

// ModuleURL is where a module is.
type ModuleURL struct {
	Scheme string // file, http, https, oci
	File   string // of file
	Image  string // of oci: host/repository
	Tag    string // of oci; "latest" if neither tag nor digest is written
	Digest string // of oci: SHA-256, hex; "" none
}

// image is HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST].
var image = regexp.MustCompile(`^((?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@sha256:([0-9a-f]{64}))?$`)

// ReadModuleURL reads a module's URL; why says what is wrong with it, "" nothing. Without a scheme it is oci, as in Istio.
func ReadModuleURL(text string) (m ModuleURL, why string) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "oci", text
	}
	m.Scheme = strings.ToLower(scheme)
	switch m.Scheme {
	case "oci":
		return readImage(m, rest)
	case "http", "https", "file":
	default:
		return m, fmt.Sprintf("unknown scheme %q", scheme)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return m, "not a URL"
	case m.Scheme != "file" && u.Host == "":
		return m, "a URL without a host"
	case m.Scheme == "file" && (u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/")):
		return m, "a file needs its whole path, after three slashes"
	}
	if m.Scheme == "file" {
		m.File = u.Path
	}
	return m, ""
}

func readImage(m ModuleURL, rest string) (ModuleURL, string) {
	parts := image.FindStringSubmatch(rest)
	if parts == nil {
		return m, "not the name of an image"
	}
	host, _, _ := strings.Cut(parts[1], "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return m, fmt.Sprintf("an image without the host of its registry: %q is none", host)
	}
	m.Image, m.Tag, m.Digest = parts[1], parts[2], parts[3]
	if m.Tag == "" && m.Digest == "" {
		m.Tag = "latest"
	}
	return m, ""
}
