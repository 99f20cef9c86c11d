package standin

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxBody bounds what is read of an upstream's answer: chains are one line, and a mistaken URL must not fill memory.
const maxBody = 1 << 20

// result of one upstream call.
type result struct {
	line   string // as written into the one-line answer
	object any    // as written into the JSON answer
	failed bool
}

// callAll asks every upstream in order. All are asked even if one fails: the answer then shows each.
func (a *App) callAll(r *http.Request) []result {
	if len(a.opts.Calls) == 0 {
		return nil
	}
	h := a.forwarded(r.Header)
	if wantsJSON(r) {
		h.Set("Accept", "application/json")
	}
	out := make([]result, 0, len(a.opts.Calls))
	for _, u := range a.opts.Calls {
		out = append(out, a.call(r, u, h))
	}
	return out
}

func (a *App) call(r *http.Request, url string, h http.Header) result {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return failure(url, http.StatusServiceUnavailable, err.Error())
	}
	req.Header = h.Clone()
	host := req.URL.Hostname()
	resp, err := a.client.Do(req)
	if err != nil {
		return failure(host, http.StatusServiceUnavailable, err.Error())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	text := strings.TrimSpace(string(body))
	switch {
	case err != nil:
		return failure(host, http.StatusServiceUnavailable, err.Error())
	case resp.StatusCode >= 400:
		f := failure(host, resp.StatusCode, text)
		// A stand-in further up explains itself in JSON: keep its structure rather than quote it.
		if json.Valid(body) && strings.HasPrefix(text, "{") {
			f.object = struct {
				Failure
				Answer json.RawMessage `json:"answer"`
			}{Failure{host, resp.StatusCode, ""}, body}
		}
		return f
	}
	res := result{line: oneLine(text), object: text}
	if wantsJSON(r) && json.Valid(body) {
		res.object = json.RawMessage(body)
	}
	return res
}

func failure(host string, status int, body string) result {
	line := host + ": " + strconv.Itoa(status)
	if b := oneLine(body); b != "" {
		line += " " + b
	}
	return result{line: line, object: Failure{host, status, body}, failed: true}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// traced are forwarded besides everything that begins with x- or baggage-.
func traced(name string) bool {
	switch name {
	case "b3", "traceparent", "tracestate", "baggage", "uber-trace-id", "fail", "slow":
		return true
	}
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "baggage-")
}

// forwarded picks the headers that travel on: without them a proxy cannot link what comes in to what goes out.
func (a *App) forwarded(in http.Header) http.Header {
	out := http.Header{}
	for k, v := range in {
		if name := strings.ToLower(k); traced(name) || a.forward[name] {
			out[k] = v
		}
	}
	if ua := in.Get("User-Agent"); ua != "" && in.Get("Baggage-User-Agent") == "" {
		out.Set("Baggage-User-Agent", ua)
	}
	return out
}
