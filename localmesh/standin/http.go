package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// Answer is the JSON form of what the stand-in says: asked for with `Accept: application/json`.
type Answer struct {
	Service  string `json:"service"`
	Version  string `json:"version"`
	Instance string `json:"instance"`
	Method   string `json:"method"`
	Path     string `json:"path"`            // without the query
	Query    string `json:"query,omitempty"` // without the question mark
	Host     string `json:"host"`
	// Headers by lower-case name, as Envoy writes them.
	Headers  map[string][]string `json:"headers"`
	Upstream []any               `json:"upstream"`        // an Answer, or a Failure, per call
	Error    string              `json:"error,omitempty"` // why the status is not 200
}

// Failure is an upstream that did not answer with success.
type Failure struct {
	Host   string `json:"host"`
	Status int    `json:"status"` // 503 if there was no answer at all
	Body   string `json:"body"`
}

// ServeHTTP answers a request of any method and path.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		a.grpc.ServeHTTP(w, r)
		return
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		websocket.Server{Handler: a.echoFrames}.ServeHTTP(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // so that the connection can be reused
	if err := pause(r); err != nil {
		a.reply(w, r, http.StatusBadRequest, nil, err.Error())
		return
	}
	fail, err := probability(r.Header.Get("fail"))
	if err != nil {
		a.reply(w, r, http.StatusBadRequest, nil, err.Error())
		return
	}
	if fail > 0 && a.opts.Random() < fail {
		a.reply(w, r, http.StatusInternalServerError, nil, "failed as asked")
		return
	}
	results := a.callAll(r)
	status := http.StatusOK
	for _, res := range results {
		if res.failed {
			status = http.StatusServiceUnavailable
		}
	}
	a.reply(w, r, status, results, "")
}

// pause waits as the header `slow` says: a Go duration, or seconds. It ends early if the client goes away.
func pause(r *http.Request) error {
	d, err := duration(r.Header.Get("slow"))
	if err != nil || d == 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
	return nil
}

func duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("header slow: %q is not a duration such as 2s", s)
	}
	return d, nil
}

func probability(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1 {
		return 0, fmt.Errorf("header fail: %q is not a probability from 0 to 1", s)
	}
	return f, nil
}

func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// who is "reviews v1 (reviews-v1-0)".
func (a *App) who() string {
	s := a.opts.Service
	if a.opts.Version != "" {
		s += " " + a.opts.Version
	}
	return s + " (" + a.opts.Instance + ")"
}

func (a *App) reply(w http.ResponseWriter, r *http.Request, status int, results []result, why string) {
	if wantsJSON(r) {
		a.replyJSON(w, r, status, results, why)
		return
	}
	var b strings.Builder
	b.WriteString(a.who())
	if why != "" {
		b.WriteString(": " + why)
	}
	for _, res := range results {
		b.WriteString(" => " + res.line)
	}
	b.WriteByte('\n')
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, b.String())
}

func (a *App) replyJSON(w http.ResponseWriter, r *http.Request, status int, results []result, why string) {
	ans := Answer{
		Service: a.opts.Service, Version: a.opts.Version, Instance: a.opts.Instance,
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host,
		Headers: map[string][]string{}, Upstream: []any{}, Error: why,
	}
	for k, v := range r.Header {
		ans.Headers[strings.ToLower(k)] = v
	}
	for _, res := range results {
		ans.Upstream = append(ans.Upstream, res.object)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(ans)
}

// echoFrames sends every WebSocket message back as it came, text as text and binary as binary.
func (a *App) echoFrames(ws *websocket.Conn) {
	if !a.conns.add(ws) { // a hijacked connection is not the HTTP server's to close
		return
	}
	defer a.conns.remove(ws)
	type frame struct {
		kind byte
		data []byte
	}
	codec := websocket.Codec{
		Marshal:   func(v any) ([]byte, byte, error) { f := v.(*frame); return f.data, f.kind, nil },
		Unmarshal: func(d []byte, kind byte, v any) error { *v.(*frame) = frame{kind, d}; return nil },
	}
	var f frame
	for codec.Receive(ws, &f) == nil {
		if codec.Send(ws, &f) != nil {
			return
		}
	}
}
