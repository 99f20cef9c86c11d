package envoytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Answer is a response, read to its end.
type Answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    string
	// Took is the time from the request to the end of the body.
	Took time.Duration
}

// Echo is what an Upstream answers: the request as it arrived. Zero if the body is something else.
func (a *Answer) Echo() Echo {
	var e Echo
	if json.Unmarshal([]byte(a.Body), &e) != nil {
		return Echo{}
	}
	return e
}

// Addr is the address of the listener whose port in the configuration is port.
func (e *Envoy) Addr(port int) string {
	if to, ok := e.ports[port]; ok {
		port = to
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Admin is the admin server's address.
func (e *Envoy) Admin() string { return e.admin }

// Get asks the listener on port for path. headers are "name: value"; "host: x" sets the authority.
func (e *Envoy) Get(t testing.TB, port int, path string, headers ...string) *Answer {
	t.Helper()
	return e.Do(t, NewRequest(t, http.MethodGet, "http://"+e.Addr(port)+path, "", headers...))
}

// NewRequest makes a request with headers given as "name: value".
func NewRequest(t testing.TB, method, target, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "host") {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return req
}

// Do sends a request over HTTP/1.1, following no redirects. A transport error fails the test.
func (e *Envoy) Do(t testing.TB, req *http.Request) *Answer {
	t.Helper()
	return Send(t, http1, req)
}

// DoHTTP2 sends a request over HTTP/2 without TLS, as gRPC clients do.
func (e *Envoy) DoHTTP2(t testing.TB, req *http.Request) *Answer {
	t.Helper()
	return Send(t, http2, req)
}

// Send sends a request through c and reads the whole answer.
func Send(t testing.TB, c *http.Client, req *http.Request) *Answer {
	t.Helper()
	start := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer of %s: %v", req.URL, err)
	}
	return &Answer{resp.StatusCode, resp.Header, resp.Trailer, string(body), time.Since(start)}
}

var http1, http2 = client(false), client(true)

func client(h2 bool) *http.Client {
	p := &http.Protocols{}
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return &http.Client{
		Transport:     &http.Transport{Protocols: p, MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
}

// Stats reads counters and gauges whose name contains filter (a regular expression), labels included.
func (e *Envoy) Stats(t testing.TB, filter string) map[string]int64 {
	t.Helper()
	out, err := e.TryStats(filter)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryStats is Stats for an Envoy that may end meanwhile.
func (e *Envoy) TryStats(filter string) (map[string]int64, error) {
	resp, err := http1.Get("http://" + e.admin + "/stats?format=json&filter=" + url.QueryEscape(filter))
	if err != nil {
		return nil, fmt.Errorf("ask for Envoy's stats: %w", err)
	}
	defer resp.Body.Close()
	var all struct {
		Stats []struct {
			Name  string
			Value json.Number
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("parse Envoy's stats: status %d: %w", resp.StatusCode, err)
	}
	out := map[string]int64{}
	for _, s := range all.Stats {
		if n, err := s.Value.Int64(); err == nil {
			out[s.Name] = n
		}
	}
	return out, nil
}

// ConfigDump returns the admin server's /config_dump.
func (e *Envoy) ConfigDump(t testing.TB) string {
	t.Helper()
	return e.adminGet(t, "/config_dump")
}

// Await calls cond until it is true, at most limit.
func Await(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

func (e *Envoy) adminGet(t testing.TB, path string) string {
	t.Helper()
	req := NewRequest(t, http.MethodGet, fmt.Sprintf("http://%s%s", e.admin, path), "")
	a := e.Do(t, req)
	if a.Status != http.StatusOK {
		t.Fatalf("GET %s on Envoy's admin: %d %s", path, a.Status, a.Body)
	}
	return a.Body
}
