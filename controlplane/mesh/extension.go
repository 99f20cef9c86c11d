package mesh

import (
	"slices"
	"strings"
)

// Phases of an Extension, in Istio's words; "" is before the router, after all others.
const (
	PhaseAuthn = "AUTHN"
	PhaseAuthz = "AUTHZ"
	PhaseStats = "STATS"
)

// What becomes of traffic while a module is not there, or when it fails: Istio's FailStrategy.
const (
	FailClose  = "FAIL_CLOSE"
	FailOpen   = "FAIL_OPEN"
	FailReload = "FAIL_RELOAD"
)

// ModuleCluster leads to the control plane's own store of modules.
const ModuleCluster = "mizzen-modules"

// Extension is one WasmPlugin or TrafficExtension: a filter of the user's. Exactly one of Wasm and Lua is set.
type Extension struct {
	Bearing
	Phase string
	// Matches are the traffic that passes through it: what one of them covers; nil: all.
	Matches []TrafficMatch
	// Network: a filter of connections rather than requests.
	Network bool
	Lua     string // script
	Wasm    *Wasm
}

// TrafficMatch covers traffic by its direction and port (Istio's TrafficSelector).
type TrafficMatch struct {
	Client, Server bool     // outbound, gateways included; inbound
	Ports          []uint32 // of the service or gateway; inbound the workload's own; nil: every port
}

// Wasm is a proxy-wasm plugin (Envoy's PluginConfig).
type Wasm struct {
	Module string // Key of World.Modules
	// File is where the proxy itself has the module (URL file://), which is read there unless Digest is set.
	File string
	// Digest is the SHA-256 of the module as the control plane has it, hex; "": it has it not, or not yet.
	Digest string
	Plugin string // root id; "" none
	Config string // JSON; "" none
	Env    map[string]string
	// HostEnv are variables of the proxy's own environment that the plugin may see.
	HostEnv []string
	Failure string // FailClose, FailOpen, FailReload
}

// Module is a WebAssembly module that is to be fetched.
type Module struct {
	Key string // all that it is fetched by: equal modules have equal keys
	URL string // file:///PATH, http(s)://..., oci://host/repository[:tag][@sha256:digest]
	// SHA256 that the module, or its image, must have, hex; "" any.
	SHA256 string
	// Version, if not "", has it fetched anew when it changes (imagePullPolicy Always); else what was fetched once stays.
	Version string
	// Credentials are a Docker configuration (JSON), for oci; nil: anonymous.
	Credentials Sensitive
	Origins     []Origin
}

// ResourceName names the extension in a proxy, as Istio does: "extensions.istio.io/wasmplugin/namespace.name".
func (e *Extension) ResourceName() string {
	return "extensions.istio.io/" + strings.ToLower(e.Origin.Kind) + "/" + e.Namespace + "." + e.Name
}

// Ports are those whose traffic passes through it, in one direction; every is true if all do.
func (e *Extension) Ports(client bool) (ports []uint32, every bool) {
	if e.Matches == nil {
		return nil, true
	}
	for _, m := range e.Matches {
		if client && !m.Client || !client && !m.Server {
			continue
		}
		if len(m.Ports) == 0 {
			return nil, true
		}
		ports = append(ports, m.Ports...)
	}
	slices.Sort(ports)
	return slices.Compact(ports), false
}

// Fetches tells whether the proxy has to fetch a plugin's module over the network: it neither shares the control plane's modules nor
// has the file itself.
func (n Node) Fetches(w *Wasm) bool { return n.Modules == "" && w.File == "" }
