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
	"syscall"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
)

// patience bounds every wait that a case does not bound itself. It is shorter than the delays that must not happen.
const patience = 30 * time.Second

// session is one case being run against its listener.
type session struct {
	*executor
	id    string
	pace  pace
	count atomic.Int64
	open  atomic.Int64 // requests in progress
}

// pace keeps the moments of a case: never nearer to the step before than the case says, so that what comes back with
// time has come back, however busy the machine.
type pace struct {
	mu    sync.Mutex
	at    time.Duration // the latest moment of the case
	due   time.Time     // when that is
	ended time.Time     // when the latest answer came
}

// await waits for a moment of the case; zero is now.
func (p *pace) await(at time.Duration) {
	p.mu.Lock()
	if at > p.at {
		p.at, p.due = at, p.ended.Add(at-p.at)
	}
	wait := time.Until(p.due)
	p.mu.Unlock()
	if at > 0 && wait > 0 { // a repeated step comes here several times at once
		<-time.After(wait)
	}
}

// end says that a request has ended.
func (p *pace) end() {
	p.mu.Lock()
	p.ended = time.Now()
	p.mu.Unlock()
}

// Open implements conformance.Executor.
func (e *executor) Open(c *conformance.Case) (conformance.Session, error) {
	id := e.ids[c]
	if e.addresses[id] == "" {
		return nil, errors.New("stock Envoy has no listener for it")
	}
	return &session{executor: e, id: id, pace: pace{ended: time.Now()}}, nil
}

// Close implements conformance.Session.
func (s *session) Close() {}

// Do implements conformance.Session.
func (s *session) Do(r *conformance.Request) (*conformance.Outcome, error) {
	s.pace.await(r.At)
	defer s.pace.end()
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
	r.Sending(time.Now())
	go func() { sent <- s.send(r, id, o) }()
	if err := s.meanwhile(r, p, open); err != nil {
		return nil, err
	}
	if err := <-sent; err != nil {
		l, _ := s.log.await(id, time.Second) // what Envoy says, if it says anything
		return nil, fmt.Errorf("%w; Envoy's access log: %+v", err, l)
	}
	if o.Gone {
		if n, err := s.active(func(n int64) bool { return n < open }); err != nil || n >= open {
			return nil, fmt.Errorf("wait until Envoy notices that the client has left: %d in progress: %w", n, err)
		}
	}
	o.Answered = time.Now()
	o.Cluster, o.Upstream = s.upstreams.seen(id)
	if !r.Watch {
		return o, nil
	}
	l, err := s.log.await(id, patience)
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
		got, err := s.active(func(n int64) bool { return n >= open })
		if err != nil || got < open {
			return fmt.Errorf("the request does not begin: %d in progress: %w", got, err)
		}
		r.During()
	}
	return nil
}

// active reads how many requests are in progress.
func (s *session) active(settled func(int64) bool) (int64, error) {
	return s.await(`^http\.`+s.id+`\.downstream_rq_active$`, settled)
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
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		o.Gone, o.Waited = true, time.Since(start) // reset
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
	deadline := time.Now().Add(patience)
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
