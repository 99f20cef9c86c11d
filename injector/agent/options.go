package agent

import (
	"log/slog"
	"net/netip"
	"path/filepath"
)

// Options of an agent.
type Options struct {
	// Gateway: the proxy is a gateway's (router), not a sidecar.
	Gateway bool
	// Domain of the node id; "": the namespace's in cluster.local.
	Domain string
	// Getenv and Environ are the environment: what the injector wrote.
	Getenv  func(string) string
	Environ func() []string
	// Addresses are those of the machine's interfaces.
	Addresses func() ([]netip.Addr, error)
	Paths     Paths
	// EnvoyLevel and EnvoyComponents are Envoy's -l and --component-log-level; "": Envoy's own.
	EnvoyLevel, EnvoyComponents string
	Log                         *slog.Logger // not nil
}

// Paths are files and directories that the injector mounts, or that the image has.
type Paths struct {
	Envoy    string // the program
	Token    string // of the service account, for the control plane; read again for each use
	Root     string // trust bundle that verifies the control plane; read again for each connection
	PodInfo  string // directory with the pod's labels and annotations
	Config   string // directory for the bootstrap, the sockets and the identity; in memory, since keys are in it
	Data     string // directory for the last configuration; it outlives the container
	Sockets  string // directory for the socket of SDS; Config if there is none
	Module   string // directory of libmizzen.so, mizzen.wasm or libmizzen-golang.so
	Resolv   string // names the name servers that the agent passes questions on to; for pods whose DNS is captured
	Override string // bootstrap that Envoy merges into its own; "": none
}

// DefaultPaths are those of an injected pod, as Istio's.
func DefaultPaths() Paths {
	return Paths{
		Envoy: "/usr/local/bin/envoy", Token: "/var/run/secrets/tokens/istio-token", Root: "/var/run/secrets/istio/root-cert.pem",
		PodInfo: "/etc/istio/pod", Config: "/etc/istio/proxy", Data: "/var/lib/istio/data",
		Sockets: "/var/run/secrets/workload-spiffe-uds", Module: "/var/lib/mizzen", Resolv: "/etc/resolv.conf",
	}
}

// Names of the modules of the policies, in Paths.Module.
const (
	DynamicModule = "libmizzen.so"
	WasmModule    = "mizzen.wasm"
	GolangLibrary = "libmizzen-golang.so" // for a contrib Envoy
)

func (p Paths) module() string    { return filepath.Join(p.Module, DynamicModule) }
func (p Paths) wasm() string      { return filepath.Join(p.Module, WasmModule) }
func (p Paths) golang() string    { return filepath.Join(p.Module, GolangLibrary) }
func (p Paths) bootstrap() string { return filepath.Join(p.Config, "envoy.json") }
func (p Paths) identity() string  { return filepath.Join(p.Config, "identity.json") }
func (p Paths) xds() string       { return filepath.Join(p.Config, "XDS") }
