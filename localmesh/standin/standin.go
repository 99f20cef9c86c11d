// Package standin is the application that a local mesh runs for a workload whose manifest names none. It answers with
// who it is, calls the upstreams that it is told to, forwards trace headers as a good citizen of a mesh does, and fails
// or dawdles when asked. It speaks HTTP/1.1, h2c, gRPC, WebSocket and, on ports that say so, plain TCP.
package standin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Port is one port that the application listens on.
type Port struct {
	Number uint32 // 0 takes any free port, see App.Addresses
	TCP    bool   // echo bytes rather than serve HTTP and gRPC
}

// Options say who the application is.
type Options struct {
	Service  string // label app, else the Deployment's name
	Version  string // label version; "" is left out of the answer
	Instance string // pod name
	Address  string // IP to listen on
	Ports    []Port
	Calls    []string // URLs asked, in order, for every request; see ParseCalls
	Forward  []string // request headers forwarded besides those that every stand-in forwards
	Proxy    string   // URL of the HTTP proxy for its calls: its sidecar; "" none
	// Random draws from [0,1) for the `fail` header; nil is math/rand/v2.
	Random func() float64
	Log    *slog.Logger // nil discards
}

// App is a running stand-in.
type App struct {
	opts      Options
	client    *http.Client
	transport *http.Transport
	grpc      *grpc.Server
	forward   map[string]bool
	web       []*http.Server
	listeners []net.Listener
	conns     connSet
	done      sync.WaitGroup
}

// Start listens on every port and serves until Close. An error leaves nothing open.
func Start(o Options) (*App, error) {
	a, err := newApp(o)
	if err != nil {
		return nil, err
	}
	for _, p := range o.Ports {
		l, err := net.Listen("tcp", net.JoinHostPort(o.Address, strconv.Itoa(int(p.Number))))
		if err != nil {
			a.Close()
			return nil, fmt.Errorf("start stand-in %s: %w", o.Instance, err)
		}
		a.listeners = append(a.listeners, l)
		a.serve(l, p.TCP)
	}
	return a, nil
}

func newApp(o Options) (*App, error) {
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// Keep many idle connections: through a proxy all hosts share them, and a mesh under test runs hot.
	t := &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512, IdleConnTimeout: 30 * time.Second, DisableCompression: true}
	if o.Proxy != "" {
		u, err := url.Parse(o.Proxy)
		if err != nil {
			return nil, fmt.Errorf("parse proxy of stand-in %s: %w", o.Instance, err)
		}
		t.Proxy = http.ProxyURL(u)
	}
	a := &App{opts: o, transport: t, forward: map[string]bool{}}
	a.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, h := range o.Forward {
		a.forward[strings.ToLower(h)] = true
	}
	a.grpc = a.newGRPC()
	return a, nil
}

func (a *App) serve(l net.Listener, tcp bool) {
	a.done.Add(1)
	if tcp {
		go func() { defer a.done.Done(); a.serveTCP(l) }()
		return
	}
	s := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(a.opts.Log.Handler(), slog.LevelDebug)}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	a.web = append(a.web, s)
	go func() {
		defer a.done.Done()
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.opts.Log.Warn("stand-in stopped serving", "instance", a.opts.Instance, "error", err)
		}
	}()
}

// Addresses are those listened on, in the order of Options.Ports.
func (a *App) Addresses() []string {
	out := make([]string, len(a.listeners))
	for i, l := range a.listeners {
		out[i] = l.Addr().String()
	}
	return out
}

// Shutdown stops accepting and lets requests in flight finish until ctx ends, then does what Close does.
func (a *App) Shutdown(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range a.web {
		wg.Add(1)
		go func() { defer wg.Done(); _ = s.Shutdown(ctx) }()
	}
	wg.Wait()
	a.Close()
}

// Close drops every connection and waits until nothing runs any more.
func (a *App) Close() {
	for _, s := range a.web {
		_ = s.Close()
	}
	for _, l := range a.listeners {
		_ = l.Close()
	}
	a.conns.close()
	a.grpc.Stop()
	a.transport.CloseIdleConnections()
	a.done.Wait()
}

// ParseCalls reads the annotation mizzen.dev/calls: absolute http or https URLs, separated by commas.
func ParseCalls(annotation string) ([]string, error) {
	var out []string
	for _, f := range strings.FieldsFunc(annotation, func(r rune) bool { return r == ',' || r == '\n' || r == ' ' }) {
		u, err := url.Parse(f)
		switch {
		case err != nil:
			return nil, fmt.Errorf("parse mizzen.dev/calls: %w", err)
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			return nil, fmt.Errorf("parse mizzen.dev/calls: %q is not a URL such as http://ratings:9080/", f)
		}
		out = append(out, f)
	}
	return out, nil
}
