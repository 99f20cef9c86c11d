// Package installer puts Mizzen into a Kubernetes cluster and takes it out again. What it makes is a release of Helm's, of the chart in
// charts/mizzen, so that Helm's own commands see it; besides, it brings the kinds up to date, which Helm leaves as they once were.
package installer

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// Options say where and what.
type Options struct {
	// Kubeconfig and Context name the cluster; "": kubectl's choice.
	Kubeconfig, Context string
	// Namespace of the installation; "" is istio-system. Revision is its name among several; "" the one without.
	Namespace, Revision string
	// Values are the user's, over the chart's defaults and the profile's. Install may change the map.
	Values map[string]any
	// Wait is how long to wait until everything serves; 0: not at all.
	Wait time.Duration
	// Out is told what is done, a line each; Warnings of values that do nothing (nil: nobody).
	Out, Warnings io.Writer
	Log           *slog.Logger // not nil; Helm's own words, at level debug
}

// Release is the name of the Helm release of a revision.
func Release(revision string) string { return "mizzen" + suffix(revision) }

func suffix(revision string) string {
	if revision == "" || revision == "default" {
		return ""
	}
	return "-" + revision
}

// installer is one run.
type installer struct {
	Options
	helm    *action.Configuration
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

func open(o Options) (*installer, error) {
	o.Namespace = cmp.Or(o.Namespace, "istio-system")
	flags := genericclioptions.NewConfigFlags(true).WithWarningPrinter(genericclioptions.IOStreams{ErrOut: o.Out})
	flags.KubeConfig, flags.Context, flags.Namespace = &o.Kubeconfig, &o.Context, &o.Namespace
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	i := &installer{Options: o, helm: &action.Configuration{}}
	if i.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	if i.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	err = i.helm.Init(flags, o.Namespace, "secret", func(format string, v ...any) { o.Log.Debug(fmt.Sprintf(format, v...)) })
	if err != nil {
		return nil, fmt.Errorf("prepare Helm: %w", err)
	}
	return i, nil
}

// say prints what was done.
func (i *installer) say(format string, args ...any) { fmt.Fprintf(i.Out, format+"\n", args...) }

// installed says whether there is a release of that name.
func (i *installer) installed(name string) (bool, error) {
	history, err := i.helm.Releases.History(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read Helm's releases: %w", err)
	}
	return len(history) > 0, nil
}
