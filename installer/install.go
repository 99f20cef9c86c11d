package installer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mizzen-mesh/mizzen/charts"
)

// createdLabel marks a namespace that was made here, so that --purge takes it away again.
const createdLabel = "mizzen.dev/created"

// Install installs the chart, or brings an installation up to date with it and with the values.
func Install(ctx context.Context, o Options) error {
	c, err := o.chart()
	if err != nil {
		return err
	}
	if _, err := o.check(ctx, c); err != nil {
		return err
	}
	i, err := open(o)
	if err != nil {
		return err
	}
	if err := i.namespace(ctx); err != nil {
		return err
	}
	if err := i.kinds(ctx, c); err != nil {
		return err
	}
	r, err := i.release(ctx, c)
	if err != nil {
		return err
	}
	if i.Wait > 0 {
		if err := i.await(ctx, r); err != nil {
			return err
		}
	}
	i.next(r)
	return nil
}

// chart loads the chart and writes the revision into the values.
func (o *Options) chart() (*chart.Chart, error) {
	c, err := charts.Mizzen()
	if err != nil {
		return nil, err
	}
	if o.Values == nil {
		o.Values = map[string]any{}
	}
	switch r, _ := o.Values["revision"].(string); {
	case o.Revision == "":
		o.Revision = r
	case r != "" && r != o.Revision:
		return nil, fmt.Errorf("read values: revision is %q there and %q on the command line", r, o.Revision)
	}
	if suffix(o.Revision) != "" {
		o.Values["revision"] = o.Revision
	}
	return c, nil
}

// Render writes what Install would apply, kinds and namespace included, without asking a cluster.
func Render(ctx context.Context, o Options) error {
	c, err := o.chart()
	if err != nil {
		return err
	}
	r, err := o.check(ctx, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Out, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n%s", o.Namespace, r.Manifest)
	return err
}

// namespace makes the installation's namespace, unless it is there. One that is being deleted is waited for: nothing can be made in it.
func (i *installer) namespace(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: i.Namespace, Labels: map[string]string{createdLabel: "true"}}}
	told := false
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := i.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		if err == nil {
			i.say("namespace %s created", i.Namespace)
		}
		if !apierrors.IsAlreadyExists(err) {
			return err == nil, err
		}
		there, err := i.client.CoreV1().Namespaces().Get(ctx, i.Namespace, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return false, nil // since a moment ago
		case err != nil || there.DeletionTimestamp == nil:
			return err == nil, err
		case !told:
			i.say("namespace %s is being deleted: waiting until it is gone", i.Namespace)
			told = true
		}
		return false, nil
	})
	switch {
	case wait.Interrupted(err) && told:
		return fmt.Errorf("make namespace %s: it is still being deleted: kubectl describe namespace %[1]s says what holds it: %w", i.Namespace, err)
	case err != nil:
		return fmt.Errorf("make namespace %s: %w", i.Namespace, err)
	}
	return nil
}

// release makes Helm install the chart, or upgrade.
func (i *installer) release(ctx context.Context, c *chart.Chart) (*release.Release, error) {
	name := Release(i.Revision)
	there, err := i.installed(name)
	if err != nil {
		return nil, err
	}
	var r *release.Release
	if there {
		u := action.NewUpgrade(i.helm)
		u.Namespace, u.SkipCRDs, u.MaxHistory = i.Namespace, true, 10
		r, err = u.RunWithContext(ctx, name, c, i.Values)
	} else {
		n := action.NewInstall(i.helm)
		n.ReleaseName, n.Namespace, n.SkipCRDs = name, i.Namespace, true
		r, err = n.RunWithContext(ctx, c, i.Values)
	}
	if err != nil {
		return nil, wrong(err)
	}
	what := "installed"
	if there {
		what = "upgraded"
	}
	i.say("release %s %s (Helm revision %d, profile %s)", name, what, r.Version, profile(i.Values))
	return r, nil
}

// wrong leaves out where in the chart's templates the mistake in the values was seen.
func wrong(err error) error {
	if found := inTemplate.FindStringSubmatch(err.Error()); found != nil {
		return errors.New("read values: " + found[1])
	}
	return fmt.Errorf("install the chart: %w", err)
}

// inTemplate finds what a template's "fail" said.
var inTemplate = regexp.MustCompile(`(?:error calling fail|execution error at \([^)]*\)): ([^\n]*)$`)

func profile(values map[string]any) string {
	if p, ok := values["profile"].(string); ok && p != "" {
		return p
	}
	return "default"
}

// next says what to do now: the chart's own notes.
func (i *installer) next(r *release.Release) {
	_, _ = io.WriteString(i.Out, "\n"+strings.TrimSpace(r.Info.Notes)+"\n")
}
