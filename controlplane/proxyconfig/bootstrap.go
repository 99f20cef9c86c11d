package proxyconfig

import (
	"cmp"
	"fmt"
	"io"
)

// Versions are what a bootstrap says of the proxy.
type Versions struct{ NodeID, Control, Envoy string }

// Versions reads the bootstrap.
func (d *Dump) Versions() (Versions, error) {
	var b struct {
		Node struct {
			ID       string `json:"id"`
			Metadata struct {
				IstioVersion string `json:"ISTIO_VERSION"`
			} `json:"metadata"`
			UserAgentBuildVersion struct {
				Version struct {
					Major int `json:"major_number"`
					Minor int `json:"minor_number"`
					Patch int `json:"patch"`
				} `json:"version"`
			} `json:"user_agent_build_version"`
		} `json:"node"`
	}
	if d.Bootstrap == nil {
		return Versions{}, nil
	}
	if err := decode(d.Bootstrap, &b); err != nil {
		return Versions{}, fmt.Errorf("read bootstrap: %w", err)
	}
	v := b.Node.UserAgentBuildVersion.Version
	return Versions{NodeID: b.Node.ID, Control: b.Node.Metadata.IstioVersion, Envoy: fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)}, nil
}

// Write prints the versions as istioctl's bootstrap summary.
func (v Versions) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "Istio Version:       %s\nProxy Version:       %s\nEnvoy Version:       %s\n", dash(v.Control), dash(v.NodeID), cmp.Or(v.Envoy, "-"))
	if err != nil {
		return fmt.Errorf("print bootstrap: %w", err)
	}
	return nil
}
