package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
)

// patience bounds every wait that a case does not bound itself.
const patience = 20 * time.Second

// session is one case being run against its listener.
type session struct {
	*executor
	id     string
	opened time.Time
	count  atomic.Int64
	open   atomic.Int64 // requests in progress
}

// Open implements conformance.Executor.
func (e *executor) Open(c *conformance.Case) (conformance.Session, error) {
	id := e.ids[c]
	if e.addresses[id] == "" {
		return nil, errors.New("stock Envoy has no listener for it")
	}
	return &session{executor: e, id: id, opened: time.Now()}, nil
}

// Close implements conformance.Session.
func (s *session) Close() {}

// Do implements conformance.Session.
func (s *session) Do(r *conformance.Request) (*conformance.Outcome, error) {
	if wait := time.Until(s.opened.Add(r.At)); r.At > 0 && wait > 0 {
		<-time.After(wait)
	}
	id := s.id + "-" + strconv.FormatInt(s.count.Add(1), 10)
	p := &plan{answer: r.Answer}
	if r.While == conformance.WhileUpstream {
		p.arrived, p.release = make(chan struct{}), make(chan struct{})
	}
	s.upstreams.expect(id, p)
	o := &conformance.Outcome{}
	sent := make(chan error, 1)
	open := s.open.Add(1)
	defer s.open.Add(-1)
	go func() { sent <- s.send(r, id, o) }()
	if err := s.meanwhile(r, p, open); err != nil {
		return nil, err
	}
	if err := <-sent; err != nil {
		return nil, err
	}
	o.Cluster, o.Upstream = s.upstreams.seen(id)
	if !r.Watch {
		return o, nil
	}
	l, err := s.log.await(id)
	if err != nil {
		return nil, err
	}
	o.Details, o.Route, o.Annotations, o.Flags = l.Details, l.Route, s.annotations(l), s.flags(l)
	return o, nil
}

// meanwhile calls r.During when the request is where it has to be.
func (s *session) meanwhile(r *conformance.Request, p *plan, open int64) error {
	switch r.While {
	case conformance.WhileUpstream:
		defer close(p.release)
		select {
		case <-p.arrived:
		case <-time.After(patience):
			return errors.New("the request does not reach its upstream")
		}
		r.During()
	case conformance.WhileDelayed:
		got, err := s.await(`^http\.`+s.id+`\.downstream_rq_active$`, func(n int64) bool { return n >= open })
		if err != nil || got < open {
			return fmt.Errorf("the request does not begin: %d in progress: %w", got, err)
		}
		r.During()
	}
	return nil
}

// send plays the client's part.
func (s *session) send(r *conformance.Request, id string, o *conformance.Outcome) error {
	limit := r.Leaves
	if limit == 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+s.addresses[s.id]+r.Path, nil)
	if err != nil {
		return err
	}
	req.Header["User-Agent"] = []string{""} // Go then sends none
	req.Header.Set(idHeader, id)
	for _, h := range r.Headers {
		name, value, _ := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "host":
			req.Host = value
		case "user-agent":
			req.Header.Set(name, value)
		default:
			req.Header.Add(name, value)
		}
	}
	start := time.Now()
	resp, err := s.clients.from(r.Source).Do(req)
	if r.Leaves > 0 && errors.Is(err, context.DeadlineExceeded) {
		o.Gone, o.Waited = true, time.Since(start)
		return nil
	}
	if err != nil {
		return fmt.Errorf("send the request: %w", err)
	}
	defer resp.Body.Close()
	o.Waited = time.Since(start)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	o.Status, o.Headers, o.Body = resp.StatusCode, lower(resp.Header), string(body)
	return nil
}

// Counter implements conformance.Session.
func (s *session) Counter(series string, settled func(int64) bool) (int64, error) {
	return s.await(s.stat(s.id, series), settled)
}

// await reads stats until they are settled, for a while.
func (s *session) await(expr string, settled func(int64) bool) (int64, error) {
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := s.stats(expr)
		if err != nil || settled(n) || time.Now().After(deadline) {
			return n, err
		}
		<-tick.C
	}
}

// parts splits "name{a,b}".
func parts(series string) (name string, labels []string) {
	name, rest, _ := strings.Cut(series, "{")
	if rest = strings.TrimSuffix(rest, "}"); rest != "" {
		labels = strings.Split(rest, ",")
	}
	for i := range labels {
		labels[i] = regexp.QuoteMeta(labels[i])
	}
	return name, labels
}

// clients are HTTP clients by source address.
type clients struct {
	mu  sync.Mutex
	all map[string]*http.Client
}

func (c *clients) from(source string) *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]*http.Client{}
	}
	if c.all[source] == nil {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		c.all[source] = &http.Client{
			Transport:     &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 16, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c.all[source]
}
