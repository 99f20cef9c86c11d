package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	extensions "istio.io/api/extensions/v1alpha1"
	typev1 "istio.io/api/type/v1beta1"
	corev1 "k8s.io/api/core/v1"
)

// extension is a WasmPlugin or a TrafficExtension, in the latter's words.
type extension struct {
	meta *istio.Meta
	path string // of what is said of a module
	spec *extensions.TrafficExtension
	one  *typev1.PolicyTargetReference // WasmPlugin's old targetRef
}

// extensions lowers WasmPlugins and TrafficExtensions, in the order of a phase: the highest priority first, then by age and name.
func (c *compiler) extensions() {
	var all []*istio.Object[extension]
	for _, o := range c.set.WasmPlugins {
		all = append(all, &istio.Object[extension]{Meta: o.Meta, Spec: extension{&o.Meta, "spec", ofPlugin(o.Spec), o.Spec.GetTargetRef()}})
	}
	for _, o := range c.set.TrafficExtensions {
		all = append(all, &istio.Object[extension]{Meta: o.Meta, Spec: extension{&o.Meta, "spec.wasm", o.Spec, nil}})
	}
	all = byPrecedence(all)
	slices.SortStableFunc(all, func(a, b *istio.Object[extension]) int {
		return cmp.Compare(b.Spec.spec.GetPriority().GetValue(), a.Spec.spec.GetPriority().GetValue())
	})
	modules := map[string]*mesh.Module{}
	for _, o := range all {
		if e := c.extension(o.Spec, modules); e != nil {
			c.world.Extensions = append(c.world.Extensions, e)
		}
	}
	for _, m := range modules {
		c.world.Modules = append(c.world.Modules, m)
	}
	slices.SortFunc(c.world.Modules, func(a, b *mesh.Module) int { return cmp.Compare(a.Key, b.Key) })
}

// ofPlugin is a WasmPlugin as a TrafficExtension.
func ofPlugin(s *extensions.WasmPlugin) *extensions.TrafficExtension {
	out := &extensions.TrafficExtension{
		Selector: s.GetSelector(), TargetRefs: s.GetTargetRefs(), Phase: extensions.TrafficExtension_ExecutionPhase(s.GetPhase()),
		Priority: s.GetPriority(), FilterConfig: &extensions.TrafficExtension_Wasm{Wasm: istio.WasmOf(s)},
	}
	for _, m := range s.GetMatch() {
		out.Match = append(out.Match, &extensions.TrafficSelector{Mode: m.GetMode(), Ports: m.GetPorts()})
	}
	return out
}

func (c *compiler) extension(x extension, modules map[string]*mesh.Module) *mesh.Extension {
	e := &mesh.Extension{}
	var ok bool
	if e.Bearing, ok = c.bearing(x.meta, x.spec.GetSelector(), x.one, x.spec.GetTargetRefs()); !ok {
		return nil
	}
	if p := x.spec.GetPhase(); p != extensions.TrafficExtension_UNSPECIFIED {
		e.Phase = p.String()
	}
	for _, m := range x.spec.GetMatch() {
		mode := m.GetMode()
		t := mesh.TrafficMatch{Client: mode != typev1.WorkloadMode_SERVER, Server: mode != typev1.WorkloadMode_CLIENT}
		for _, p := range m.GetPorts() {
			t.Ports = append(t.Ports, p.GetNumber())
		}
		e.Matches = append(e.Matches, t)
	}
	if s := x.spec.GetWasm(); s != nil {
		e.Network = s.GetType() == extensions.PluginType_NETWORK
		e.Wasm = wasmOf(s)
		c.module(x, e.Wasm, modules)
	} else {
		e.Lua = x.spec.GetLua().GetInlineCode()
	}
	return e
}

func wasmOf(s *extensions.WasmConfig) *mesh.Wasm {
	w := &mesh.Wasm{Plugin: s.GetPluginName(), Config: valueOf(s.GetPluginConfig()), Failure: s.GetFailStrategy().String()}
	for _, v := range s.GetVmConfig().GetEnv() {
		if v.GetValueFrom() == extensions.EnvValueSource_HOST {
			w.HostEnv = append(w.HostEnv, v.GetName())
			continue
		}
		if w.Env == nil {
			w.Env = map[string]string{}
		}
		w.Env[v.GetName()] = v.GetValue()
	}
	slices.Sort(w.HostEnv)
	return w
}

// module notes what the plugin's module is to be fetched by; plugins that say the same share it.
func (c *compiler) module(x extension, w *mesh.Wasm, modules map[string]*mesh.Module) {
	s := x.spec.GetWasm()
	u, _ := istio.ReadModuleURL(s.GetUrl())
	m := &mesh.Module{URL: s.GetUrl(), SHA256: cmp.Or(s.GetSha256(), u.Digest)}
	if u.Image != "" {
		m.URL = "oci://" + u.Image
		switch {
		case u.Digest != "":
			m.URL += "@sha256:" + u.Digest
		default:
			m.URL += ":" + u.Tag
		}
		m.Credentials = c.pullSecret(x, s.GetImagePullSecret())
	}
	always := s.GetImagePullPolicy() == extensions.PullPolicy_Always ||
		s.GetImagePullPolicy() == extensions.PullPolicy_UNSPECIFIED_POLICY && u.Tag == "latest"
	if always && m.SHA256 == "" && u.File == "" {
		m.Version = digest(x.meta.Raw)
	}
	w.File = u.File
	var secret string
	if m.Credentials != nil {
		secret = digest(m.Credentials)
	}
	m.Key = strings.Join(slices.DeleteFunc([]string{m.URL, m.SHA256, m.Version, secret}, func(s string) bool { return s == "" }), " ")
	w.Module = m.Key
	if same := modules[m.Key]; same != nil {
		m = same
	}
	m.Origins = append(m.Origins, origin(x.meta, x.path+".url"))
	modules[m.Key] = m
}

// digest is short for what it is made of.
func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// pullSecret finds a Secret with a Docker configuration, nil if none is named or it is not there.
func (c *compiler) pullSecret(x extension, name string) mesh.Sensitive {
	if name == "" {
		return nil
	}
	path := x.path + ".imagePullSecret"
	for _, o := range c.set.Secrets {
		if o.Namespace != x.meta.Namespace || o.Name != name {
			continue
		}
		if raw := entry(o.Spec, corev1.DockerConfigJsonKey); raw != nil {
			return raw
		}
		c.report(x.meta, path, istio.Error, codePullSecret, fmt.Sprintf("Secret %s/%s has no %s: the image is asked for without", o.Namespace, name, corev1.DockerConfigJsonKey),
			"make it with kubectl create secret docker-registry")
		return nil
	}
	c.report(x.meta, path, istio.Error, codeNotFound, fmt.Sprintf("there is no Secret %s/%s: the image is asked for without", x.meta.Namespace, name),
		"add it to the plugin's own namespace: kubectl create secret docker-registry "+name)
	return nil
}
