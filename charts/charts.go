// Package charts holds Mizzen's Helm chart, as `helm install` and `mizzen install` take it.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

//go:embed mizzen all:mizzen/templates
var files embed.FS

// Mizzen loads the chart.
func Mizzen() (*chart.Chart, error) {
	var all []*loader.BufferedFile
	err := fs.WalkDir(files, "mizzen", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		all = append(all, &loader.BufferedFile{Name: strings.TrimPrefix(name, "mizzen/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded chart: %w", err)
	}
	c, err := loader.LoadFiles(all)
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
	return c, nil
}

// Profiles are the names of the chart's profiles.
func Profiles() []string { return []string{"default", "demo", "minimal"} }
