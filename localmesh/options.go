// Package localmesh runs a mesh on this machine, without a cluster: `mizzen up`. It reads manifests, starts the control
// plane, an application and a real Envoy per replica and an Envoy per gateway, follows changes, and leaves nothing behind.
package localmesh

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	cpmesh "github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Options of a mesh.
type Options struct {
	Files     []string // the user's paths; "-" is Stdin
	Namespace string   // printed with what to try; objects that name none are in "default"
	// GatewayPort and GatewayTLSPort are where a gateway's ports 80 and 443 are reached.
	GatewayPort, GatewayTLSPort uint32
	// PortsFixed: fail if one of them is taken, rather than choose another.
	PortsFixed bool
	Envoy      string // --envoy; "" looks for one, see FindEnvoy
	// Filters is what runs the policies in proxies whose workload does not say (annotation mizzen.dev/filters); "" the dynamic
	// module, or, where none is found, Envoy's own filters.
	Filters cpmesh.FilterHost
	// Isolation is how workloads are kept apart: one of the Isolation constants; "" is loopback.
	Isolation  string
	Executable string   // of mizzen: runs the control plane
	ReadyFile  string   // "" none
	Command    []string // run once ready; the mesh ends with it
	Env        []string // os.Environ
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer
	Log        *slog.Logger // what happens to processes
	// Redis is where the rate-limit service counts, ADDR[,ADDR...]; "": in its memory.
	Redis string
	// CertTTL is how long a workload's certificate lives, renewed at half of it (0: an hour), and RootTTL a root (0: 10 years).
	CertTTL, RootTTL time.Duration
	// Root of state directories; "" is state.Root.
	Root string
	// ReadyTimeout is how long the proxies may take to acknowledge; 0 is a minute.
	ReadyTimeout time.Duration
}

// How workloads are kept apart.
const (
	IsolationLoopback = "loopback" // by addresses of the loopback network; applications use their sidecar as HTTP proxy
	IsolationNetns    = "netns"    // by network namespaces, in which connections are intercepted
)

func (o *Options) defaults() {
	if o.GatewayPort == 0 {
		o.GatewayPort = 8080
	}
	if o.GatewayTLSPort == 0 {
		o.GatewayTLSPort = 8443
	}
	if o.Root == "" {
		o.Root = state.Root()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReadyTimeout == 0 {
		o.ReadyTimeout = time.Minute
	}
	if o.CertTTL == 0 {
		o.CertTTL = time.Hour
	}
	if o.RootTTL == 0 {
		o.RootTTL = 10 * 365 * 24 * time.Hour
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
}

// files are the user's paths made absolute, with standard input spooled into dir: it is read more than once.
func (o *Options) files(dir string) ([]string, error) {
	var out []string
	for i, f := range o.Files {
		if f != "-" {
			abs, err := filepath.Abs(f)
			if err != nil {
				return nil, err
			}
			out = append(out, abs)
			continue
		}
		raw, err := io.ReadAll(o.Stdin)
		if err != nil {
			return nil, err
		}
		spool := filepath.Join(dir, "stdin-"+string(rune('0'+i%10))+".yaml")
		if err := os.WriteFile(spool, raw, 0o600); err != nil {
			return nil, err
		}
		out = append(out, spool)
	}
	return out, nil
}
