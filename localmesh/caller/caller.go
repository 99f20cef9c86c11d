// Package caller sends requests into a running mesh, through a gateway or as one of its workloads, and counts the answers.
package caller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Target is where requests go.
type Target struct {
	URL   string
	Host  string // Host header if not the URL's; "" the URL's
	Proxy string // URL of the HTTP proxy; "" none
}

// Resolve finds the way to rawURL: through the sidecar of the workload named from, or through a gateway if from is "" or a
// gateway's name. A URL that is a path alone, or whose host is not the gateway's own, is asked of the gateway all the same.
func Resolve(s *state.State, from, rawURL string) (Target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Target{}, fmt.Errorf("read URL: %w", err)
	}
	if from != "" {
		w, err := s.Workload(from)
		if err != nil {
			if g, e := s.Gateway(from); e == nil {
				return viaGateway(s, g, u)
			}
			return Target{}, err
		}
		if u.Host == "" {
			return Target{}, fmt.Errorf("read URL: a workload needs a host to call, such as http://ratings:9080%s", u.Path)
		}
		if w.Proxy == "" {
			return Target{}, fmt.Errorf("call as %s: it has no sidecar", w.Name)
		}
		return Target{URL: rawURL, Proxy: w.Proxy}, nil
	}
	g, err := s.Gateway("")
	if err != nil {
		return Target{}, err
	}
	return viaGateway(s, g, u)
}

func viaGateway(s *state.State, g *state.Gateway, u *url.URL) (Target, error) {
	for _, other := range s.Gateways {
		if u.Host != "" && (other.HTTP == "http://"+u.Host || other.HTTPS == "https://"+u.Host) {
			return Target{URL: u.String()}, nil
		}
	}
	server := uint32(80)
	if u.Scheme == "https" {
		server = 443
	}
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		server = uint32(p)
	}
	t := *u
	t.Scheme = "http"
	if u.Scheme == "https" {
		t.Scheme = "https"
	}
	bound, ok := g.Ports[server]
	switch {
	case ok:
		t.Host = net.JoinHostPort(g.Address, strconv.Itoa(int(bound)))
	case u.Host == "" && g.HTTP != "":
		t.Host = strings.TrimPrefix(g.HTTP, "http://")
	default:
		return Target{}, fmt.Errorf("call %s: gateway %s has no server on port %d; name a workload with --from to call from inside the mesh", u, g.Name, server)
	}
	return Target{URL: t.String(), Host: u.Host}, nil
}

// Request is what is sent, Count times.
type Request struct {
	Target
	Method      string // "" GET
	Header      http.Header
	Body        string
	Count       int           // at least 1
	Concurrency int           // at least 1
	Timeout     time.Duration // of each; 0 none
}

// Answer to one request.
type Answer struct {
	Status  int // 0 if there was none
	Proto   string
	Header  http.Header
	Body    string
	Err     error // why there was no answer
	Latency time.Duration
}

// Flag is what Envoy's access log would tell of a failure, as far as the answer gives it away; "-" if nothing does.
func (a Answer) Flag() string { return flagOf(a) }

// Failed tells whether there was no answer, or one that is an error.
func (a Answer) Failed() bool { return a.Status == 0 || a.Status >= 400 }

// Send sends the requests and calls each for every answer, one at a time. It stops early when ctx ends.
func Send(ctx context.Context, r Request, each func(Answer)) error {
	r.Count, r.Concurrency = max(1, r.Count), max(1, r.Concurrency)
	transport := &http.Transport{MaxIdleConnsPerHost: r.Concurrency, MaxIdleConns: r.Concurrency, DisableCompression: true}
	defer transport.CloseIdleConnections()
	if r.Proxy != "" {
		p, err := url.Parse(r.Proxy)
		if err != nil {
			return fmt.Errorf("call %s: %w", r.URL, err)
		}
		transport.Proxy = http.ProxyURL(p)
	}
	client := &http.Client{Transport: transport, Timeout: r.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if _, err := r.build(ctx); err != nil {
		return fmt.Errorf("call %s: %w", r.URL, err)
	}
	var left atomic.Int64
	left.Store(int64(r.Count))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(r.Concurrency, r.Count) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				a := r.once(ctx, client)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				each(a)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return ctx.Err()
}

func (r *Request) build(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if r.Body != "" {
		body = strings.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, err
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "mizzen")
	}
	req.Host = r.Host
	if h := r.Header.Get("Host"); h != "" {
		req.Host = h
	}
	req.Header.Del("Host")
	return req, nil
}

func (r *Request) once(ctx context.Context, client *http.Client) Answer {
	req, err := r.build(ctx)
	if err != nil {
		return Answer{Err: err}
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return Answer{Err: err, Latency: time.Since(began)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := Answer{Status: resp.StatusCode, Proto: resp.Proto, Header: resp.Header, Body: string(body), Latency: time.Since(began)}
	if err != nil {
		a.Status, a.Err = 0, err
	}
	return a
}
