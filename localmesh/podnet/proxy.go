package podnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"time"
)

// ServeProxy serves an HTTP proxy at an address of the machine until the pod is closed: what is asked of it leaves the pod, as a
// request of the pod's own application does, and meets whatever that would. A client's connections are its own there, too: who
// connects anew meets the newest listeners. lookup finds the addresses of a name there.
func (p *Pod) ServeProxy(address string, lookup func(ctx context.Context, name string) ([]netip.Addr, error)) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serve as %s: %w", p.key, err)
	}
	dial := func(ctx context.Context, to string) (net.Conn, error) { return p.dialName(ctx, to, lookup) }
	out := &outgoing{dial: dial, byClient: map[net.Conn]*http.Transport{}}
	forward := &httputil.ReverseProxy{
		Transport: out, FlushInterval: -1, ErrorLog: slog.NewLogLogger(p.net.log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.Host
			if r.Out.URL.Host == "" { // asked as a server, not as a proxy
				r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute, ConnContext: out.begin, ConnState: out.end, ErrorLog: slog.NewLogLogger(p.net.log.Handler(), slog.LevelDebug),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				p.tunnel(w, r, dial)
				return
			}
			forward.ServeHTTP(w, r)
		}),
	}
	p.keep(closer{l, server})
	p.net.relays.Add(1)
	go func() { defer p.net.relays.Done(); _ = server.Serve(l) }()
	return nil
}

// closer ends a server with its connections.
type closer struct {
	net.Listener
	server *http.Server
}

func (c closer) Close() error { return c.server.Close() }

// outgoing has connections into the pod for each connection of a client, which end with that.
type outgoing struct {
	dial func(ctx context.Context, to string) (net.Conn, error)

	mu       sync.Mutex
	byClient map[net.Conn]*http.Transport
}

// clientKey is under what a request's context has its client's transport.
type clientKey struct{}

// begin is http.Server's ConnContext.
func (o *outgoing) begin(ctx context.Context, c net.Conn) context.Context {
	t := &http.Transport{
		IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return o.dial(ctx, to) },
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byClient[c] = t
	return context.WithValue(ctx, clientKey{}, t)
}

// end is http.Server's ConnState.
func (o *outgoing) end(c net.Conn, s http.ConnState) {
	if s != http.StateClosed && s != http.StateHijacked {
		return
	}
	o.mu.Lock()
	t := o.byClient[c]
	delete(o.byClient, c)
	o.mu.Unlock()
	if t != nil {
		t.CloseIdleConnections()
	}
}

// RoundTrip sends a request over its client's connections.
func (o *outgoing) RoundTrip(r *http.Request) (*http.Response, error) {
	t, ok := r.Context().Value(clientKey{}).(*http.Transport)
	if !ok {
		return nil, errors.New("the request has come over no connection")
	}
	return t.RoundTrip(r)
}

// dialName connects to "name:port", trying the name's addresses in turn.
func (p *Pod) dialName(ctx context.Context, to string, lookup func(context.Context, string) ([]netip.Addr, error)) (net.Conn, error) {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	addresses := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, ip)
	} else if addresses, err = lookup(ctx, host); err != nil {
		return nil, err
	}
	for _, ip := range addresses {
		var c net.Conn
		if c, err = p.Dial(ctx, net.JoinHostPort(ip.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// tunnel answers CONNECT.
func (p *Pod) tunnel(w http.ResponseWriter, r *http.Request, dial func(context.Context, string) (net.Conn, error)) {
	up, err := dial(r.Context(), r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = up.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_, _ = up.Close(), c.Close()
		return
	}
	if n := buffered.Reader.Buffered(); n > 0 { // what came with the request
		early, _ := buffered.Reader.Peek(n)
		if _, err := up.Write(early); err != nil {
			_, _ = up.Close(), c.Close()
			return
		}
	}
	p.net.join(p.net.ctx, c, func(context.Context, net.Conn) (net.Conn, error) { return up, nil })
}
