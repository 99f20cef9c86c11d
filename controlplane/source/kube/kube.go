// Package kube reads configuration from a Kubernetes API server, for as long as it changes: Services and what is behind them, and every
// Istio and Mizzen kind whose CustomResourceDefinition is there.
package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Options of Watch.
type Options struct {
	// Config is how to reach the API server; not nil. Rates that it does not say are those of a control plane.
	Config *rest.Config
	// Namespace is the control plane's own, where ConfigMap istio is; "" istio-system.
	Namespace string
	// Revision is the control plane's; "" or "default": the one without a name. Objects of Istio's and Mizzen's kinds that are labelled
	// istio.io/rev for another revision are not read, and MeshConfig is that of ConfigMap istio-REVISION.
	Revision string
	// Kinds, if not nil, are the names of the only kinds to read, of those that CustomResourceDefinitions bring.
	Kinds []string
	Log   *slog.Logger // not nil
}

// defaultRevision is the name of the revision without a name.
const defaultRevision = "default"

// revisionLabel names the revision that an object is for.
const revisionLabel = "istio.io/rev"

func (o Options) revision() string { return cmp.Or(o.Revision, defaultRevision) }

// MeshConfigMap is the name of the ConfigMap with the MeshConfig of a revision.
func MeshConfigMap(revision string) string {
	if revision == "" || revision == defaultRevision {
		return "istio"
	}
	return "istio-" + revision
}

// A change is taken once nothing has happened for quiet, or latest after its first event.
const (
	quiet  = 20 * time.Millisecond
	latest = 200 * time.Millisecond
)

// Watch reads everything, calls fn with the result, and then again after every change, one call at a time. An object that a change
// breaks stays as it was, with a diagnostic, for as long as the process runs. While the API server is away, what was read stays. Watch
// returns when ctx is done, with nil; an error means that it could not start.
func Watch(ctx context.Context, o Options, fn func(istio.Set, istio.Diagnostics)) error {
	s, err := newSource(o)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	s.group, s.ctx = g, ctx
	if err := s.start(); err != nil {
		return err
	}
	g.Go(func() error { return s.run(ctx, fn) })
	return g.Wait()
}

// source is a Watch that runs.
type source struct {
	Options
	client   kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
	ctx      context.Context // Watch's
	group    *errgroup.Group // of all that runs
	wake     chan struct{}
	problems problems

	mu      sync.Mutex
	pending map[istio.Ref]*read // nil: the object is gone
	kinds   map[kindName]*following
	synced  []waiting // of all that runs, until everything is read
	read    bool

	state   state // run's
	secrets secrets
}

// read is what an object came to.
type read struct {
	set   istio.Set // empty if it is broken
	diags istio.Diagnostics
}

// waiting is something that is there once it has read all that there is.
type waiting struct {
	what    string
	until   time.Time            // zero: as long as it takes
	synced  cache.InformerSynced // begin's, if done is nil
	done    cache.InformerSynced // whether all was read, where that is more than an informer's list
	refused func(error)          // is told of failed requests, if not nil
}

// Bounds of requests to the API server, for a Config that says none: a control plane starts with a watch for each kind.
const (
	qps   = 100
	burst = 200
)

func newSource(o Options) (*source, error) {
	o.Namespace = cmp.Or(o.Namespace, "istio-system")
	config := rest.CopyConfig(o.Config)
	if config.QPS == 0 {
		config.QPS, config.Burst = qps, burst
	}
	s := &source{
		Options: o, wake: make(chan struct{}, 1), pending: map[istio.Ref]*read{}, kinds: map[kindName]*following{}, state: newState(time.Now),
		problems: problems{log: o.Log, told: map[string]time.Time{}},
	}
	var err error
	if s.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("make the client of the API server: %w", err)
	}
	if s.metadata, err = metadata.NewForConfig(metadata.ConfigFor(config)); err != nil {
		return nil, fmt.Errorf("make the client of the API server: %w", err)
	}
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("make the client of the API server: %w", err)
	}
	s.secrets = secrets{source: s, running: map[istio.Ref]context.CancelFunc{}, shelves: map[string]*shelf{}}
	return s, nil
}

// run waits until everything is read, and then for changes.
func (s *source) run(ctx context.Context, fn func(istio.Set, istio.Diagnostics)) error {
	if !s.first(ctx) {
		return nil
	}
	fn(s.state.snapshot())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		if !s.settle(ctx) {
			return nil
		}
		if s.take() {
			fn(s.state.snapshot())
		}
	}
}

// first reads everything, Secrets last: which ones, the others say. False: ctx is done.
func (s *source) first(ctx context.Context) bool {
	for s.await(ctx) {
		before := s.count()
		s.take()
		if s.count() == before { // no further kind or Secret has come into it
			s.mu.Lock()
			defer s.mu.Unlock()
			s.read, s.synced = true, nil
			return true
		}
	}
	return false
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.synced)
}

// await waits until all that runs has read what there is, and tells from time to time what it waits for.
func (s *source) await(ctx context.Context) bool {
	const tell = 10 * time.Second
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	told := time.Now()
	for {
		missing := s.missing()
		if len(missing) == 0 {
			return true
		}
		if time.Since(told) > tell {
			told = time.Now()
			s.Log.Info("waiting for the API server", "kinds", missing)
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// missing names what has not been read yet.
func (s *source) missing() []string {
	s.mu.Lock()
	all := slices.Clone(s.synced)
	s.mu.Unlock() // what asks a shelf may wait for one that puts
	var out []string
	for _, w := range all {
		if !w.synced() && (w.until.IsZero() || time.Now().Before(w.until)) {
			out = append(out, w.what)
		}
	}
	return out
}

// settle gathers the events of one change. False: ctx is done.
func (s *source) settle(ctx context.Context) bool {
	deadline := time.After(latest)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.wake:
		case <-time.After(quiet):
			return true
		case <-deadline:
			return true
		}
	}
}

// put notes what an object is now; nil: it is gone.
func (s *source) put(ref istio.Ref, r *read) {
	s.mu.Lock()
	s.pending[ref] = r
	s.mu.Unlock()
	s.nudge()
}

// nudge has run look at what is new.
func (s *source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take brings what is in force in line with what was read, and says whether anything is different.
func (s *source) take() bool {
	s.mu.Lock()
	pending := s.pending
	s.pending = map[istio.Ref]*read{}
	s.mu.Unlock()
	changed := s.state.apply(pending)
	s.secrets.follow(s.state.set)
	return changed
}
