package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// serveStatus begins to answer those who look at the pod: kubelet, Prometheus, and programs in the pod.
func (a *Agent) serveStatus(life context.Context, background func(func())) error {
	if a.set.status == 0 {
		return nil
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", a.set.status))
	if err != nil {
		return fmt.Errorf("serve status: %w", err)
	}
	s := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return life },
		ErrorLog: slog.NewLogLogger(a.o.Log.Handler(), slog.LevelDebug),
	}
	background(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.o.Log.Error("status is not served any more", "error", err)
		}
	})
	background(func() { <-life.Done(); _ = s.Close() })
	return nil
}

func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz/ready", a.handleReady)
	mux.HandleFunc("/stats/prometheus", a.handleMetrics)
	for path, p := range a.set.probers {
		mux.Handle(path, p.handler(a.set.ip))
	}
	mux.HandleFunc("/quitquitquit", local(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "OK")
		a.o.Log.Info("asked to end")
		a.stop()
	}))
	mux.HandleFunc("/drain", local(func(w http.ResponseWriter, r *http.Request) {
		if err := a.drain(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "OK")
	}))
	return mux
}

// local is for programs in the pod alone, and only on purpose.
func local(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		switch ip := net.ParseIP(host); {
		case ip == nil || !ip.IsLoopback():
			http.Error(w, "only requests from within the pod", http.StatusForbidden)
		case r.Method != http.MethodPost:
			http.Error(w, "only POST", http.StatusMethodNotAllowed)
		default:
			next(w, r)
		}
	}
}

func (a *Agent) handleReady(w http.ResponseWriter, r *http.Request) {
	err := a.notReady(r.Context())
	if was := a.ready.Swap(err == nil); was != (err == nil) {
		a.o.Log.Info("readiness has changed", "ready", err == nil, "reason", fmt.Sprint(err))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}
