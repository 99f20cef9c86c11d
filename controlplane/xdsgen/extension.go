package xdsgen

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	wasmhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	netrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	wasmtcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Extensions travel one by one, by extension discovery (ECDS), and stand in the chains by name alone: one that Envoy refuses costs
// nothing but itself, and a change of one ends no connection. There is always something under the name: what its failStrategy says,
// as long as there is no module.

// extensionInput is all that an extension's configuration is made of.
type extensionInput struct {
	Extension *mesh.Extension
	Modules   string // of the node
	Server    string // where modules are fetched
	// Only, if not nil, are the ports whose requests pass through it, of a listener that takes requests to any.
	Only []uint32
}

// module is how a module reaches the proxy; nil: not yet.
func (in extensionInput) module() *corev3.AsyncDataSource {
	w, n := in.Extension.Wasm, mesh.Node{Modules: in.Modules}
	switch {
	case w.Digest != "" && in.Modules != "":
		return localModule(filepath.Join(in.Modules, w.Digest+".wasm"))
	case w.File != "" && in.Modules == "":
		return localModule(w.File)
	case w.Digest != "" && n.Fetches(w) && in.Server != "":
		return remoteModule(in.Server, w.Digest)
	}
	return nil
}

// name is that of the filter and of what it discovers. A new module that must be fetched has a new name: the listener that names it
// takes the place of the old one when the module is there, and not before.
func (in extensionInput) name() string {
	name := in.Extension.ResourceName()
	var more []string
	if w := in.Extension.Wasm; w != nil && w.Digest != "" && (mesh.Node{Modules: in.Modules}).Fetches(w) && in.Server != "" {
		more = append(more, w.Digest[:min(12, len(w.Digest))])
	}
	for _, p := range in.Only {
		more = append(more, portText(p))
	}
	if len(more) == 0 {
		return name
	}
	return name + variantMark + strings.Join(more, ",")
}

// variantMark separates the name that users know an extension's filter by from what tells its variants apart.
const variantMark = "@"

// knownName is the name that users know a filter by.
func knownName(filter string) string {
	name, _, _ := strings.Cut(filter, variantMark)
	return name
}

// buildExtension makes what is discovered.
func buildExtension(in extensionInput) (*Resource, error) {
	r, err := in.resource(in.config())
	if err != nil {
		return nil, err
	}
	// A proxy that refused a plugin needs the stand-in: of every listener that it is given later it would refuse the whole, for what it
	// refused is what it has under the name.
	if r.Instead, err = in.resource(in.matched(standIn(in.Extension))); err != nil {
		return nil, err
	}
	if w := in.Extension.Wasm; w != nil && w.Digest != "" && (mesh.Node{Modules: in.Modules}).Fetches(w) {
		r.Clusters = []string{mesh.ModuleCluster}
	}
	return r, nil
}

// resource is a filter's configuration as what is discovered, unless making it failed.
func (in extensionInput) resource(config proto.Message, err error) (*Resource, error) {
	if err != nil {
		return nil, err
	}
	packed, err := toAny(config)
	if err != nil {
		return nil, err
	}
	r, err := resource(in.name(), &corev3.TypedExtensionConfig{Name: in.name(), TypedConfig: packed})
	if err == nil {
		r.Origins = []mesh.Origin{in.Extension.Origin}
	}
	return r, err
}

func (in extensionInput) config() (proto.Message, error) {
	e := in.Extension
	if e.Wasm == nil {
		return in.matched(&luav3.Lua{DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: e.Lua}}})
	}
	code := in.module()
	if code == nil {
		return in.matched(standIn(e))
	}
	p, err := in.pluginConfig(code)
	if err != nil {
		return nil, err
	}
	if e.Network {
		return &wasmtcpv3.Wasm{Config: p}, nil
	}
	return in.matched(&wasmhttpv3.Wasm{Config: p})
}

// standIn is in the place of a plugin that is not there: it refuses everything, or lets it pass.
func standIn(e *mesh.Extension) proto.Message {
	closed := e.Wasm != nil && e.Wasm.Failure != mesh.FailOpen
	switch {
	case e.Network && closed: // no policy allows anything
		return &netrbacv3.RBAC{StatPrefix: "extension.", Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW}}
	case e.Network:
		return &netrbacv3.RBAC{StatPrefix: "extension."}
	case closed:
		text := plainText(e.Origin.Kind + " " + e.Namespace + "/" + e.Name)
		return &luav3.Lua{DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: fmt.Sprintf(
			"function envoy_on_request(handle)\n  handle:respond({[\":status\"] = \"503\"}, \"%s is not there yet\")\nend\n", text)}}}
	}
	return &httprbacv3.RBAC{}
}

// plainText keeps what needs no quoting.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("-._/ ", r) {
			return r
		}
		return -1
	}, s)
}

// matched has a filter of requests skipped for ports that are not the extension's.
func (in extensionInput) matched(config proto.Message) (proto.Message, error) {
	if in.Only == nil {
		return config, nil
	}
	packed, err := toAny(config)
	if err != nil {
		return nil, err
	}
	return skipOtherPorts(in.Only, &corev3.TypedExtensionConfig{Name: in.name(), TypedConfig: packed})
}

// discovery has a filter discover its configuration by name. Until something comes, and should Envoy refuse what came first, the
// default stands.
func (in extensionInput) discovery() (*corev3.ExtensionConfigSource, error) {
	instead, err := in.matched(standIn(in.Extension))
	if err != nil {
		return nil, err
	}
	fallback, err := toAny(instead)
	if err != nil {
		return nil, err
	}
	types := []proto.Message{&wasmhttpv3.Wasm{}, &luav3.Lua{}, &httprbacv3.RBAC{}}
	if in.Extension.Network {
		types = []proto.Message{&wasmtcpv3.Wasm{}, &netrbacv3.RBAC{}}
	}
	if in.Only != nil {
		types = []proto.Message{&matchingv3.ExtensionWithMatcher{}}
	}
	source := adsSource()
	source.InitialFetchTimeout = seconds(firstExtension)
	out := &corev3.ExtensionConfigSource{ConfigSource: source, DefaultConfig: fallback}
	for _, t := range types {
		out.TypeUrls = append(out.TypeUrls, mustAny(t).TypeUrl)
	}
	return out, nil
}

// inputOf is an extension in a chain.
func (in listenerInput) inputOf(e *mesh.Extension) extensionInput {
	out := extensionInput{Extension: e, Modules: in.Modules, Server: in.ModuleServer}
	if in.Listener.Kind == mesh.ListenHTTPProxy {
		if ports, every := e.Ports(true); !every {
			out.Only = ports
		}
	}
	return out
}

// extensionsOf are a chain's extensions of some phases, in that order.
func (in listenerInput) extensionsOf(network bool, phases ...string) []extensionInput {
	var out []extensionInput
	for _, phase := range phases {
		for _, e := range in.Extensions {
			if e.Network == network && e.Phase == phase {
				out = append(out, in.inputOf(e))
			}
		}
	}
	return out
}

// phaseOf is the phase of the extensions behind one stage of what guards a chain.
func phaseOf(stage authStage) string {
	return [...]string{mesh.PhaseAuthn, mesh.PhaseAuthz, mesh.PhaseStats}[stage]
}

// httpExtensions are the filters of a phase in an HTTP chain.
func httpExtensions(in listenerInput, phase string) ([]*hcmv3.HttpFilter, error) {
	var out []*hcmv3.HttpFilter
	for _, e := range in.extensionsOf(false, phase) {
		d, err := e.discovery()
		if err != nil {
			return nil, err
		}
		out = append(out, &hcmv3.HttpFilter{Name: e.name(), ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: d}})
	}
	return out, nil
}

// tcpExtensions are the filters of connections, of some phases.
func tcpExtensions(in listenerInput, phases ...string) ([]*listenerv3.Filter, error) {
	var out []*listenerv3.Filter
	for _, e := range in.extensionsOf(true, phases...) {
		d, err := e.discovery()
		if err != nil {
			return nil, err
		}
		out = append(out, &listenerv3.Filter{Name: e.name(), ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: d}})
	}
	return out, nil
}

// extensions makes what the listeners' filters discover.
func (s *session) extensions() error {
	seen := map[string]bool{}
	for _, l := range s.view.Listeners {
		in := s.listenerInput(l, false)
		lists := [][]*mesh.Extension{l.Extensions}
		for _, i := range l.Inbound {
			lists = append(lists, i.Extensions)
		}
		for _, e := range slices.Concat(lists...) {
			x := in.inputOf(e)
			if seen[x.name()] {
				continue
			}
			seen[x.name()] = true
			r, err := memo(s.Builder, "extension", x, buildExtension)
			if err != nil {
				return err
			}
			s.out.Extensions = append(s.out.Extensions, existing(r, s.have))
		}
	}
	slices.SortFunc(s.out.Extensions, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}
