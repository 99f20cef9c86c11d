// Package state is what a running local mesh says of itself: a directory that belongs to it, a JSON file in it that other
// commands read, and how they find it. The directory is locked while the mesh lives and removed when it ends.
package state

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// File is the name of the JSON file in a state directory.
const File = "state.json"

// State of a mesh: the ready file is this, as JSON.
type State struct {
	Gateways     []Gateway    `json:"gateways"`
	Workloads    []Workload   `json:"workloads"` // sorted by namespace, then name
	ControlPlane ControlPlane `json:"controlPlane"`
	RateLimit    *RateLimit   `json:"rateLimit,omitempty"` // nil: an older mizzen started the mesh

	// What follows is for our own commands.

	Dir     string    `json:"state"`   // the state directory
	PID     int       `json:"pid"`     // of `mizzen up`
	Files   []string  `json:"files"`   // the user's paths, absolute
	Started time.Time `json:"started"` // when `mizzen up` began
	// Namespace given to objects that name none.
	Namespace string `json:"namespace"`
	// Revision of the applied overlay that every proxy has acknowledged: see overlay.Revision.
	Revision string `json:"revision"`
}

// Gateway is one gateway Envoy.
type Gateway struct {
	Name      string            `json:"name"`
	Pod       string            `json:"pod"` // under which the control plane knows its proxy
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
	HTTP      string            `json:"http,omitempty"`  // URL of port 80; "" if the Gateway has no such server
	HTTPS     string            `json:"https,omitempty"` // URL of port 443
	Ports     map[uint32]uint32 `json:"ports"`           // server's port: port bound
	Address   string            `json:"address"`         // where it listens
	Admin     string            `json:"admin"`
}

// Workload is one replica, its application and its sidecar.
type Workload struct {
	Name      string            `json:"name"` // of the pod
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
	Address   string            `json:"address"` // the sidecar's: the pod IP
	Ports     []uint32          `json:"ports"`   // container ports
	// Proxy is an HTTP proxy whose requests are the workload's own: its sidecar, or a proxy that sends them from within the workload's
	// network namespace. "": there is none.
	Proxy string `json:"proxy,omitempty"`
	Admin string `json:"admin,omitempty"` // the sidecar's admin address
	// Application is where the application itself listens, behind the sidecar.
	Application string `json:"application"`
	// Netns is the network namespace, as `ip netns` shows it; "" where workloads have none.
	Netns string `json:"netns,omitempty"`
}

// RateLimit says where the rate-limit service listens.
type RateLimit struct {
	GRPC string `json:"grpc"` // host:port
	HTTP string `json:"http"` // URL of its metrics and pages
}

// ControlPlane says where it listens.
type ControlPlane struct {
	XDS    string `json:"xds"`    // address
	Secure string `json:"secure"` // address of certificates and xDS with TLS
	HTTP   string `json:"http"`   // URL
}

// AppliedDir holds the objects of `mizzen apply`: read after the user's files, so that it wins.
func AppliedDir(dir string) string { return filepath.Join(dir, "applied") }

// PodsDir holds the Pod objects of the running workloads.
func PodsDir(dir string) string { return filepath.Join(dir, "pods") }

// Find reads the state of the mesh to work with: that of explicit (a state directory or ready file, MIZZEN_STATE), else
// the one that this user started last.
func Find(explicit string) (*State, error) {
	if explicit != "" {
		return Read(explicit)
	}
	dirs, err := live(Root())
	if err != nil {
		return nil, err
	}
	var best *State
	for _, d := range dirs {
		s, err := Read(d)
		if err == nil && (best == nil || s.Started.After(best.Started)) {
			best = s
		}
	}
	if best == nil && len(dirs) > 0 {
		return nil, fmt.Errorf("find mesh: one is starting (%s), but is not ready yet", dirs[0])
	}
	if best == nil {
		return nil, fmt.Errorf("find mesh: none is running; start one with `mizzen up -f PATH`, or set MIZZEN_STATE")
	}
	return best, nil
}

// Read reads a state directory, or a ready file.
func Read(path string) (*State, error) {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		path = filepath.Join(path, File)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read state of mesh: %w", err)
	}
	s := new(State)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read state of mesh: %s: %w", path, err)
	}
	return s, nil
}

// Write replaces path with the state, at once or not at all.
func (s *State) Write(path string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state of mesh: %w", err)
	}
	return wholefile.Content(path, 0o644, append(raw, '\n'))
}

// Workload finds a workload by pod name ("reviews-v1-0", "reviews-v1-0.default"), else by Deployment name, app label, or
// unique beginning. The first of several replicas is meant.
func (s *State) Workload(name string) (*Workload, error) {
	name, namespace, _ := strings.Cut(name, ".")
	tests := []func(w *Workload) bool{
		func(w *Workload) bool { return w.Name == name },
		func(w *Workload) bool {
			return strings.HasPrefix(w.Name, name+"-") && !strings.Contains(w.Name[len(name)+1:], "-")
		},
		func(w *Workload) bool { return w.Labels["app"] == name },
		func(w *Workload) bool { return strings.HasPrefix(w.Name, name) },
	}
	for _, test := range tests {
		for i := range s.Workloads {
			if w := &s.Workloads[i]; (namespace == "" || w.Namespace == namespace) && test(w) {
				return w, nil
			}
		}
	}
	return nil, fmt.Errorf("find workload %s: the mesh has %s", name, s.names())
}

// Gateway finds a gateway by name; "" is the first.
func (s *State) Gateway(name string) (*Gateway, error) {
	name, _, _ = strings.Cut(name, ".")
	for i := range s.Gateways {
		if name == "" || s.Gateways[i].Name == name {
			return &s.Gateways[i], nil
		}
	}
	if name == "" {
		return nil, fmt.Errorf("find gateway: the mesh has none; apply a Gateway, or use --from WORKLOAD")
	}
	return nil, fmt.Errorf("find gateway %s: the mesh has %s", name, s.names())
}

// names lists what there is, for error messages.
func (s *State) names() string {
	var out []string
	for _, g := range s.Gateways {
		out = append(out, g.Name)
	}
	for _, w := range s.Workloads {
		out = append(out, w.Name)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
