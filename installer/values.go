package installer

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// check finds mistakes in the values before anything is changed: a name that the chart does not have, a profile that is none, and what
// is wrong with the MeshConfig. What has no effect is told, and stays. It returns the release as it would be.
func (o *Options) check(ctx context.Context, c *chart.Chart) (*release.Release, error) {
	known, err := defaults(c)
	if err != nil {
		return nil, err
	}
	known["profile"] = ""
	v := values{}
	v.compare("", known, o.Values)
	if len(v.wrong) > 0 {
		return nil, fmt.Errorf("read values: %s", v.wrong[0])
	}
	for _, text := range v.idle {
		o.warn(text)
	}
	if err := o.checkMesh(); err != nil {
		return nil, err
	}
	return o.render(ctx, c)
}

// warn tells of what is let pass.
func (o *Options) warn(text string) {
	if o.Warnings != nil {
		fmt.Fprintln(o.Warnings, "warning:", text)
	}
}

// defaults are the chart's.
func defaults(c *chart.Chart) (map[string]any, error) {
	for _, f := range c.Files {
		if f.Name != "files/defaults.yaml" {
			continue
		}
		out := map[string]any{}
		if err := yaml.Unmarshal(f.Data, &out); err != nil {
			return nil, fmt.Errorf("read the chart's defaults: %w", err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("read the chart's defaults: there is no files/defaults.yaml")
}

// values are compared with those that there are.
type values struct {
	wrong []string // nobody can mean these
	idle  []string // Istio's chart may have them; this one does nothing with them
}

// free maps have keys of the user's choice.
func free(key string, known map[string]any) bool {
	return len(known) == 0 || slices.Contains([]string{"meshConfig", "config", "labels", "securityContext", "resources", "seccompProfile"}, key)
}

// shared tells of a map that Istio's chart has, too, with more in it than is read here.
func shared(path string) bool {
	return slices.Contains([]string{"global.", "global.proxy.", "global.proxy_init.", "global.multiCluster.", "sidecarInjectorWebhook.", "pilot.", "pilot.cni."}, path)
}

func (v *values) compare(path string, known, given map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		want, ok := known[key]
		if ok {
			sub, isMap := want.(map[string]any)
			mine, given := given[key].(map[string]any)
			if isMap && given && !free(key, sub) {
				v.compare(path+key+".", sub, mine)
			}
			continue
		}
		text := fmt.Sprintf("there is no value %s%s", path, key)
		meant := nearest.Of(key, slices.Sorted(maps.Keys(known)))
		switch {
		case meant != "":
			v.wrong = append(v.wrong, fmt.Sprintf("%s; did you mean %s%s?", text, path, meant))
		case shared(path):
			v.idle = append(v.idle, fmt.Sprintf("value %s%s has no effect here", path, key))
		default:
			v.wrong = append(v.wrong, text+"; charts/mizzen/values.yaml lists all")
		}
	}
}

// checkMesh reads the MeshConfig of the values as the control plane will.
func (o *Options) checkMesh() error {
	mesh, ok := o.Values["meshConfig"].(map[string]any)
	if !ok {
		return nil
	}
	text, err := yaml.Marshal(mesh)
	if err != nil {
		return fmt.Errorf("read values: meshConfig: %w", err)
	}
	_, ds, err := istio.DecodeMeshConfig("meshConfig", bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("read values: %w", err)
	}
	for _, d := range ds {
		d.Object, d.Position = istio.Ref{}, istio.Position{}
		text := strings.ReplaceAll(strings.TrimPrefix(d.String(), d.Severity.String()+" "), "data.mesh", "meshConfig")
		if d.Severity == istio.Error {
			return fmt.Errorf("read values: %s", text)
		}
		o.warn(text)
	}
	return nil
}

// render makes the release without asking a cluster.
func (o *Options) render(ctx context.Context, c *chart.Chart) (*release.Release, error) {
	a := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	a.DryRun, a.ClientOnly, a.IncludeCRDs = true, true, true
	a.ReleaseName, a.Namespace = Release(o.Revision), o.Namespace
	a.KubeVersion = &chartutil.KubeVersion{Version: "v1.36.0", Major: "1", Minor: "36"}
	r, err := a.RunWithContext(ctx, c, o.Values)
	if err != nil {
		return nil, wrong(err)
	}
	return r, nil
}
