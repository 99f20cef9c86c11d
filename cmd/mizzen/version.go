package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
	"github.com/mizzen-mesh/mizzen/internal/kubemesh"
)

// versions are what `mizzen version` prints.
type versions struct {
	Mizzen   string `json:"mizzen"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// ControlPlane and DataPlane are those of a cluster; nil without one.
	ControlPlane []podVersion   `json:"controlPlane,omitempty"`
	DataPlane    map[string]int `json:"dataPlane,omitempty"` // Envoy's version: proxies
}

// podVersion is a replica of the control plane and the tag of its image.
type podVersion struct {
	Pod     string `json:"pod"`
	Version string `json:"version"`
}

func newVersionCommand() *cobra.Command {
	var output string
	var cluster kubemesh.Flags
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version of this program; with --kubeconfig or --context also those of a cluster's control plane and proxies.",
		Example: "  mizzen version -o json\n  mizzen version --context production",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Mizzen: cmdline.Version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if cluster.Given() {
				if err := v.ask(cmd, &cluster); err != nil {
					return err
				}
			}
			return v.print(cmd.OutOrStdout(), output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cluster.Add(cmd.Flags())
	return cmd
}

// ask fills in what runs in a cluster.
func (v *versions) ask(cmd *cobra.Command, cluster *kubemesh.Flags) error {
	m, err := cluster.Open(cmd.Context())
	if err != nil {
		return err
	}
	pods, err := m.ControlPlanes(cmd.Context())
	if err != nil {
		return err
	}
	for _, p := range pods {
		v.ControlPlane = append(v.ControlPlane, podVersion{p.Name, tag(p)})
	}
	proxies, err := clusterProxies(cmd, cluster)
	if err != nil {
		return err
	}
	v.DataPlane = map[string]int{}
	for _, p := range proxies {
		v.DataPlane[p.Envoy]++
	}
	return nil
}

// tag is that of the image of a pod's first container; the image itself if it has none.
func tag(p corev1.Pod) string {
	if len(p.Spec.Containers) == 0 {
		return ""
	}
	image := p.Spec.Containers[0].Image
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return image
}

func (v *versions) print(w io.Writer, output string) error {
	switch output {
	case "table":
		fmt.Fprintf(w, "mizzen %s (%s %s)\n", v.Mizzen, v.Go, v.Platform)
		for _, p := range v.ControlPlane {
			fmt.Fprintf(w, "control plane %s (%s)\n", p.Version, p.Pod)
		}
		var envoys []string
		for k, n := range v.DataPlane {
			envoys = append(envoys, fmt.Sprintf("data plane Envoy %s (%d proxies)", k, n))
		}
		slices.Sort(envoys)
		for _, l := range envoys {
			fmt.Fprintln(w, l)
		}
		return nil
	case "json":
		return json.NewEncoder(w).Encode(v)
	case "yaml":
		raw, err := yaml.Marshal(v)
		if err == nil {
			_, err = w.Write(raw)
		}
		return err
	}
	return badOutput(output, "table", "json", "yaml")
}
