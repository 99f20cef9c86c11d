// Package status tells users in their objects what the control plane thinks of them: the leader among the replicas writes a condition
// and the codes of its diagnostics into the status of the object that caused them, and takes them away when the object is mended.
// The leader also writes the mesh's root certificate into every namespace, where sidecars mount it. Nothing else has a leader.
package status

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Options of Run.
type Options struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespace and Lease are where replicas elect their leader; Identity is this replica's name, which no other has.
	Namespace, Lease, Identity string
	// Notes is the ConfigMap in Namespace where each replica leaves its Note for the leader: what it alone knows, of at most LongestNote
	// bytes; "" nothing. Note nil: never anything.
	Notes string
	Note  func() string
	// Diagnostics are those of now, of any kind and about anything, by what this replica knows and the notes of the others.
	Diagnostics func(notes []string) istio.Diagnostics
	// Roots are the mesh's root certificates, PEM; nil or empty: there are none to write.
	Roots func() string
	Terms Terms
	Now   func() time.Time // not nil
	Log   *slog.Logger     // not nil
}

// Terms say how long things take. A zero field has its default.
type Terms struct {
	Lease time.Duration // default 15s: how long a leader that is gone keeps the others waiting; a note outlives its replica by twice that
	Look  time.Duration // default 2s: how often the leader looks at the diagnostics, and a replica at its note
}

func (t Terms) withDefaults() Terms {
	if t.Lease == 0 {
		t.Lease = 15 * time.Second
	}
	if t.Look == 0 {
		t.Look = 2 * time.Second
	}
	return t
}

// Run stands for election until ctx is done, does the leader's work while it is the leader, and has this replica's note told at any time.
func Run(ctx context.Context, o Options) error {
	o.Terms = o.Terms.withDefaults()
	var posting sync.WaitGroup
	posting.Go(func() { o.post(ctx) })
	defer posting.Wait()
	lease := o.Terms.Lease
	for ctx.Err() == nil {
		e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Lease},
				Client:    o.Client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
			},
			LeaseDuration: lease, RenewDeadline: lease * 2 / 3, RetryPeriod: lease / 8, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) { o.lead(ctx) },
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return fmt.Errorf("stand for election: %w", err)
		}
		e.Run(ctx) // until it leads no more
	}
	return nil
}

// lead does the leader's work until ctx is done.
func (o Options) lead(ctx context.Context) {
	o.Log.Info("leader: writing status and root certificates", "lease", o.Lease, "identity", o.Identity)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { newWriter(o).run(ctx); return nil })
	g.Go(func() error { return o.keepRoots(ctx) })
	if err := g.Wait(); err != nil {
		o.Log.Error("leader: giving up until the next election", "error", err)
	}
}
