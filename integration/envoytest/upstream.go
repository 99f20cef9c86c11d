package envoytest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Echo tells a request as an Upstream received it. Header names are lower case; repeated values are joined with ",".
type Echo struct {
	Name    string            `json:"name"`
	Method  string            `json:"method"`
	Host    string            `json:"host"`
	Path    string            `json:"path"` // with the query
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body,omitempty"`
}

// Upstream is a server on loopback that answers every request with its Echo, over HTTP/1.1 or HTTP/2 without TLS.
type Upstream struct {
	// Port and Addr say where it listens.
	Port int
	Addr string

	requests atomic.Int64
}

// Requests is the number of requests it has received.
func (u *Upstream) Requests() int64 { return u.requests.Load() }

// NewUpstream starts an Upstream called name; it ends with the test. If handle is given it answers instead.
func NewUpstream(t testing.TB, name string, handle ...http.HandlerFunc) *Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{Port: l.Addr().(*net.TCPAddr).Port, Addr: l.Addr().String()}
	answer := EchoHandler(name)
	if len(handle) > 0 {
		answer = handle[0]
	}
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.requests.Add(1)
		answer(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // always non-nil: the server was closed
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return u
}

// EchoHandler answers with an Echo.
func EchoHandler(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		e := Echo{Name: name, Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(), Headers: map[string]string{}, Body: string(body)}
		for k, v := range r.Header {
			e.Headers[strings.ToLower(k)] = strings.Join(v, ",")
		}
		w.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(w).Encode(e) // the client has gone away
	}
}
