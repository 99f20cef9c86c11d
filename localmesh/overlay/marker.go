package overlay

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// The marker is a WorkloadEntry that selects nothing and is selected by nothing. Its name carries a revision: whoever has
// read it has read what was written before it. It stands first in the directory, so that it is also read first.
const (
	markerNamespace = "mizzen-revision"
	markerFile      = "0-revision.yaml"
)

// writeMarker is the last step of a change to the overlay.
func writeMarker(dir, revision string) error {
	// An address of a block that is reserved for documentation: no proxy has it.
	return wholefile.Content(filepath.Join(dir, markerFile), 0o644, fmt.Appendf(nil, `# Tells who has read this folder. Written by mizzen.
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: %s
  namespace: %s
spec:
  address: 192.0.2.1
`, revision, markerNamespace))
}

// RevisionOf is the overlay's revision that a set was read with; "" if nothing was ever applied.
func RevisionOf(set istio.Set) string {
	for _, o := range set.WorkloadEntries {
		if o.Namespace == markerNamespace {
			return o.Name
		}
	}
	return ""
}

// IsMarker tells the marker among the workloads ("namespace/name") that the control plane lists, and its revision.
func IsMarker(workload string) (revision string, ok bool) {
	return strings.CutPrefix(workload, markerNamespace+"/")
}

// IsMarkerObject tells the marker among the objects read.
func IsMarkerObject(m *istio.Meta) bool { return m.Namespace == markerNamespace }
