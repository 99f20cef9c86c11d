package webhook

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/internal/serving"
)

// Options of Run.
type Options struct {
	Addr     string // of the webhook, https
	HTTPAddr string // of /metrics and /ready
	TLS      *tls.Config
	// Trusted is closed when API servers trust what TLS serves; nil: at once.
	Trusted <-chan struct{}
	// Certificates keeps TLS and the trust in it until its context ends; nil: somebody else does.
	Certificates func(ctx context.Context) error
	// Watch brings policies until its context ends; with an error the one before stays.
	Watch func(ctx context.Context, use func(p *inject.Policy, err error)) error
	// Drain is how long to go on serving after ctx has ended, until API servers ask others.
	Drain time.Duration
	// Listening, if not nil, is told both addresses once connections are accepted.
	Listening func(webhook, monitoring net.Addr)
	Log       *slog.Logger
}

// Run serves until ctx ends, then is not ready any more, and drains.
func Run(ctx context.Context, o Options) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var policy atomic.Pointer[inject.Policy]
	h := &Handler{Policy: policy.Load, Metrics: NewMetrics(registry), Log: o.Log}
	lc := net.ListenConfig{}
	hooks, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen for the webhook: %w", err)
	}
	pages, err := lc.Listen(ctx, "tcp", o.HTTPAddr)
	if err != nil {
		_ = hooks.Close()
		return fmt.Errorf("listen for monitoring: %w", err)
	}
	config := o.TLS.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	config.DynamicRecordSizingDisabled = true // small records first are for browsers: each is a write of its own

	// lasting ends a while after ctx, so that API servers that have not heard are still answered.
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, lasting := errgroup.WithContext(lasting)
	g.Go(func() error {
		mux := http.NewServeMux()
		mux.Handle("/inject", h)
		mux.Handle("/inject/", h)
		return serving.HTTP(lasting, mux, tls.NewListener(hooks, config))
	})
	g.Go(func() error {
		ready := func() bool { return ctx.Err() == nil && policy.Load() != nil && closed(o.Trusted) }
		return serving.HTTP(lasting, monitoring(registry, ready), pages)
	})
	g.Go(func() error {
		return o.Watch(lasting, func(p *inject.Policy, err error) {
			if err != nil {
				h.Metrics.reloads.WithLabelValues("error").Inc()
				o.Log.Error("the injector's configuration cannot be used; the one before stays", "why", err)
				return
			}
			h.Metrics.reloads.WithLabelValues("ok").Inc()
			policy.Store(p)
			o.Log.Info("configuration read", "nativeSidecars", p.NativeSidecars, "revision", p.Values.Revision, "proxyConfigs", len(p.ProxyConfigs))
		})
	})
	if o.Certificates != nil {
		g.Go(func() error { return o.Certificates(lasting) })
	}
	if o.Listening != nil {
		o.Listening(hooks.Addr(), pages.Addr())
	}
	g.Go(func() error {
		select {
		case <-lasting.Done():
		case <-ctx.Done():
			o.Log.Info("draining", "for", o.Drain)
			time.AfterFunc(o.Drain, end)
		}
		return nil
	})
	return g.Wait()
}

func closed(c <-chan struct{}) bool {
	if c == nil {
		return true
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// monitoring serves /metrics, /ready and, as the control plane does, /debug/pprof/.
func monitoring(registry *prometheus.Registry, ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}
