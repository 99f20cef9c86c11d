// Package handover is what the injector writes into a pod for those who read it on the node: annotations. Standard library only.
package handover

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The annotations.
const (
	// StatusAnnotation marks a pod that has been injected: a Status, as JSON, which Istio's tools read.
	StatusAnnotation = "sidecar.istio.io/status"
	// InterceptionAnnotation is an Interception, as JSON.
	InterceptionAnnotation = "mizzen.dev/interception"
)

// Names of init containers that the injector makes. Istio's, so that tools find them.
const (
	// InitContainer has connections intercepted.
	InitContainer = "istio-init"
	// ValidationContainer waits until the node has, and fails if it has not.
	ValidationContainer = "istio-validation"
)

// Status is what the injector added to a pod: names.
type Status struct {
	InitContainers   []string `json:"initContainers"`
	Containers       []string `json:"containers"`
	Volumes          []string `json:"volumes"`
	ImagePullSecrets []string `json:"imagePullSecrets"`
	Revision         string   `json:"revision"`
}

// Interception is what the container istio-init would run, for a program of the node that does it instead.
type Interception struct {
	// Args are those of `mizzen iptables`.
	Args []string `json:"args"`
	// Env are variables that stand for flags.
	Env map[string]string `json:"env,omitempty"`
}

// Of is what the node is to do in the network of a pod with these annotations; nil: nothing, since the pod has no sidecar, or a
// container that does it.
func Of(annotations map[string]string) (*Interception, error) {
	status, injected := annotations[StatusAnnotation]
	ask, asked := annotations[InterceptionAnnotation]
	if !injected || !asked {
		return nil, nil
	}
	var s Status
	if err := json.Unmarshal([]byte(status), &s); err != nil {
		return nil, fmt.Errorf("read annotation %s: %w", StatusAnnotation, err)
	}
	if slices.Contains(s.InitContainers, InitContainer) {
		return nil, nil
	}
	var i Interception
	if err := json.Unmarshal([]byte(ask), &i); err != nil {
		return nil, fmt.Errorf("read annotation %s: %w", InterceptionAnnotation, err)
	}
	return &i, nil
}
