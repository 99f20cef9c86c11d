package ratelimit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/internal/serving"
)

// Options of Run.
type Options struct {
	// Watch calls its function with what is configured, and again after every change, until ctx is done.
	Watch func(context.Context, func(istio.Set, istio.Diagnostics)) error
	// Addr and HTTPAddr are where to listen: gRPC in plaintext, and metrics and readiness.
	Addr, HTTPAddr string
	// Redis is where to count; no Addrs: in memory.
	Redis RedisOptions
	// OnError says what holds while Redis is away: local (default), allow or deny.
	OnError string
	// Sliding makes limits sliding windows instead of GCRA.
	Sliding bool
	// MaxKeys bounds the keys remembered in memory; 0: DefaultMaxKeys.
	MaxKeys int
	// Domain is answered for; requests in others pass. Default DefaultDomain.
	Domain string
	Log    *slog.Logger // not nil
	// Listening, if not nil, is told the addresses that were bound.
	Listening func(grpc, http net.Addr)
}

// Run serves until ctx is done, then drains.
func Run(ctx context.Context, o Options) error {
	onError, err := parseOnError(o.OnError)
	if err != nil {
		return err
	}
	if o.Domain == "" {
		o.Domain = DefaultDomain
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen for proxies: %w", err)
	}
	defer l.Close()
	pages, err := net.Listen("tcp", o.HTTPAddr)
	if err != nil {
		return fmt.Errorf("listen for monitoring: %w", err)
	}
	defer pages.Close()
	s, probe, closeStore, err := newService(o, onError)
	if err != nil {
		return err
	}
	defer closeStore()
	if o.Listening != nil {
		o.Listening(l.Addr(), pages.Addr())
	}
	store := "memory"
	if len(o.Redis.Addrs) > 0 {
		store = "redis"
	}
	o.Log.Info("rate-limit service is up", "grpc", l.Addr().String(), "http", pages.Addr().String(), "store", store)
	g, ctx := errgroup.WithContext(ctx)
	w := &watcher{service: s, sliding: o.Sliding, log: o.Log, told: map[istio.Diagnostic]bool{}}
	g.Go(func() error { return o.Watch(ctx, w.publish) })
	g.Go(func() error { probe(ctx); return nil })
	g.Go(func() error { return serveGRPC(ctx, s, l) })
	g.Go(func() error { return serving.HTTP(ctx, s.pages(), pages) })
	return g.Wait()
}

// newService puts the stores together. The store must be probed, and closed when nobody asks any more.
func newService(o Options, onError OnError) (s *service, probe func(context.Context), closeStore func(), err error) {
	local := NewMemory(time.Now, o.MaxKeys)
	s = &service{domain: o.Domain, store: local, refused: newRefusals(), metrics: newMetrics(), now: time.Now}
	s.metrics.watch(local)
	if len(o.Redis.Addrs) == 0 {
		return s, func(context.Context) {}, func() {}, nil
	}
	redis.SetLogger(clientLog{o.Log})
	r, err := NewRedis(o.Redis)
	if err != nil {
		return nil, nil, nil, err
	}
	m := s.metrics
	r.sent = func(calls, asks int) {
		m.batches.Inc()
		m.calls.Add(float64(calls))
		m.asks.Add(float64(asks))
	}
	g := &guard{store: r, local: local, onError: onError, log: o.Log, metrics: m}
	s.store = g
	return s, g.probe, func() { _ = r.Close() }, nil
}

// clientLog keeps what the Redis client has to say for those who look closely: guard tells when Redis is away.
type clientLog struct{ log *slog.Logger }

// Printf implements the client's Logging.
func (l clientLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis client: "+fmt.Sprintf(format, v...))
}

// watcher puts the limits of what is read in force. Calls do not overlap.
type watcher struct {
	service *service
	sliding bool
	log     *slog.Logger
	told    map[istio.Diagnostic]bool
}

func (w *watcher) publish(set istio.Set, ds istio.Diagnostics) {
	now := map[istio.Diagnostic]bool{}
	for _, d := range ds {
		if now[d] = true; !w.told[d] && d.Severity == istio.Error {
			w.log.Error(d.String())
		}
	}
	w.told = now
	t := TableOf(set, w.sliding)
	w.service.setTable(t)
	w.log.Info("limits in force", "global", len(t.byName))
}

func serveGRPC(ctx context.Context, s *service, l net.Listener) error {
	g := serving.NewGRPC()
	h := health.NewServer()
	rlsv3.RegisterRateLimitServiceServer(g, s)
	grpc_health_v1.RegisterHealthServer(g, h)
	return serving.GRPC(ctx, g, l, "proxies", h.Shutdown)
}

// pages serves metrics, readiness (200 once limits have been read) and the limits in force.
func (s *service) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if s.table.Load() == nil {
			http.Error(w, "no limits have been read yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /debug/limits", func(w http.ResponseWriter, _ *http.Request) {
		t, list := s.table.Load(), []*Limit{}
		if t != nil {
			for _, name := range t.Names() {
				list = append(list, t.byName[name])
			}
		}
		w.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	return mux
}
