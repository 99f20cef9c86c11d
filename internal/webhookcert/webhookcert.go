// Package webhookcert gives webhook servers their certificates: a CA that all replicas share in a Secret, a serving certificate
// that each replica signs for itself and keeps in memory, and the caBundle of the webhook configurations, so that API servers trust
// them. Everything is made, renewed and put in force here; nobody has to install a certificate.
//
// A CA is followed by the next one without a gap: the next stands in the caBundles before it signs, and the last stays there until
// nothing that it signed is good any more.
package webhookcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Options of a Keeper.
type Options struct {
	Client kubernetes.Interface
	// Namespace and Secret are where the CA is kept. Several servers may share it.
	Namespace, Secret string
	// DNSNames are those of the Service that API servers call: NAME.NAMESPACE.svc.
	DNSNames []string
	// Mutating and Validating are names of webhook configurations whose caBundles are kept. One that is not there is left alone
	// until it is.
	Mutating, Validating []string
	// Announced, if not nil, is called when API servers have been told to trust the server, and when a Mutating configuration had to be told
	// again: it was not asked before. It must not block.
	Announced func()
	// FailClosed, if not nil, is asked once the caBundles are in force: when it returns nil, the server is being reached by the API
	// server, and failurePolicy Ignore of the Validating configurations becomes Fail.
	FailClosed func(context.Context) error
	Lifetimes  Lifetimes
	Clock      clock.Clock  // nil: the real one
	Log        *slog.Logger // not nil
}

// Keeper keeps one server's certificate, and the caBundles.
type Keeper struct {
	o       Options
	leaf    atomic.Pointer[tls.Certificate]
	ready   chan struct{} // closed when there is a leaf, and the caBundles that are there trust it
	isReady bool          // Run's
	told    string        // the last failure that was logged; Run's
}

// New returns a Keeper that has yet to Run.
func New(o Options) *Keeper {
	o.Lifetimes = o.Lifetimes.withDefaults()
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Keeper{o: o, ready: make(chan struct{})}
}

// Ready is closed when there is a certificate, and every configuration that is there trusts it.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

// TLS serves with the certificate of the day. Before Ready handshakes fail.
func (k *Keeper) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := k.leaf.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("no certificate yet: the API server has not been reached")
		},
	}
}

// While the API server cannot be reached, Run tries again after these.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Run does what is due, until ctx is done: at once when the Secret or a configuration changes, and when a certificate's time
// has come. What fails is tried again.
func (k *Keeper) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	stop, err := k.watch(ctx, changed)
	if err != nil {
		return err
	}
	defer stop()
	retry := firstRetry
	for {
		due, err := k.pass(ctx)
		wait := due.Sub(k.o.Clock.Now())
		if err != nil {
			k.complain(ctx, err)
			wait, retry = retry, min(2*retry, lastRetry)
		} else {
			k.told, retry = "", firstRetry
		}
		timer := k.o.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// complain logs a failure once.
func (k *Keeper) complain(ctx context.Context, err error) {
	if ctx.Err() == nil && err.Error() != k.told {
		k.told = err.Error()
		k.o.Log.Warn("webhook certificates: trying again", "error", err)
	}
}

// pass brings everything up to date, and returns when the next pass is due.
func (k *Keeper) pass(ctx context.Context) (due time.Time, err error) {
	now := k.o.Clock.Now()
	a, err := k.advance(ctx, now)
	if err != nil {
		return due, err
	}
	if err := k.announce(ctx, a.bundle()); err != nil {
		return due, err
	}
	leaf := k.leaf.Load()
	if leaf == nil || now.After(renewal(leaf.Leaf)) || !issued(leaf.Leaf, a.trusted()) {
		p, err := a.leaf(k.o.DNSNames, now, k.o.Lifetimes.Leaf)
		if err != nil {
			return due, err
		}
		leaf = &tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key, Leaf: p.cert}
		k.leaf.Store(leaf)
		k.o.Log.Info("webhook certificate made", "names", k.o.DNSNames, "until", p.cert.NotAfter)
	}
	if !k.isReady {
		k.isReady = true
		close(k.ready)
		k.announced()
	}
	return earliest(now, k.o.Lifetimes.Overlap, renewal(leaf.Leaf), a.from, a.until, a.signer.cert.NotAfter.Add(-k.o.Lifetimes.CA*3/10)), k.failClosed(ctx)
}

// advance reads the authority, and does what is due of it. Of replicas that do the same at once, one writes; the others read again.
func (k *Keeper) advance(ctx context.Context, now time.Time) (authority, error) {
	secrets := k.o.Client.CoreV1().Secrets(k.o.Namespace)
	for range 10 {
		s, err := secrets.Get(ctx, k.o.Secret, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if missing {
			s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: k.o.Secret, Namespace: k.o.Namespace}}
		} else if err != nil {
			return authority{}, fmt.Errorf("read Secret %s: %w", k.o.Secret, err)
		}
		a, err := decode(s.Data)
		if err != nil {
			k.o.Log.Warn("the CA of the webhooks is broken: making a new one", "secret", k.o.Secret, "error", err)
			a = authority{}
		}
		if a.signer != nil {
			if err := k.announce(ctx, a.bundle()); err != nil {
				return authority{}, err
			}
		}
		next, changed, err := a.step(now, k.o.Lifetimes, a.signer != nil)
		if err != nil || !changed {
			return a, err
		}
		if s.Data, err = next.encode(); err != nil {
			return authority{}, err
		}
		if missing {
			_, err = secrets.Create(ctx, s, metav1.CreateOptions{})
		} else {
			_, err = secrets.Update(ctx, s, metav1.UpdateOptions{})
		}
		if err == nil {
			k.o.Log.Info("CA of the webhooks changed", "secret", k.o.Secret, "certificates", len(next.trusted()))
			return next, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return authority{}, fmt.Errorf("write Secret %s: %w", k.o.Secret, err)
		}
	}
	return authority{}, fmt.Errorf("write Secret %s: others write it all the time", k.o.Secret)
}

// renewal is when a certificate is replaced: half of its time, counted from when it was made.
func renewal(c *x509.Certificate) time.Time {
	made := c.NotBefore.Add(backdate)
	return made.Add(c.NotAfter.Sub(made) / 2)
}

// issued says whether one of roots signed c.
func issued(c *x509.Certificate, roots []*x509.Certificate) bool {
	for _, r := range roots {
		if c.CheckSignatureFrom(r) == nil {
			return true
		}
	}
	return false
}

// earliest is the first of times after now; one that has passed comes again after a while.
func earliest(now time.Time, later time.Duration, times ...time.Time) time.Time {
	out := now.Add(later)
	for _, t := range times {
		if t.After(now) && t.Before(out) {
			out = t
		}
	}
	return out
}
