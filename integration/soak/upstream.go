package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// upstream is the least server that can judge what the chain made of a request. It answers every request with
// "name sampled bytes", or "name bad: reason".
type upstream struct {
	name string
	l    net.Listener
	port int
}

func newUpstream(name string) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the upstream: %w", err)
	}
	u := &upstream{name, l, l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go u.serve(c)
		}
	}()
	return u, nil
}

// serve ends when Envoy, which is stopped first, closes the connection.
func (u *upstream) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 4096)
	for {
		headers, err := readHead(r)
		if err != nil {
			return
		}
		length, err := readBody(r, headers)
		if err != nil {
			return
		}
		body := u.name + " " + judge(headers, length)
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

// readHead reads up to the empty line; "" is the name of the first line.
func readHead(r *bufio.Reader) (map[string]string, error) {
	head := map[string]string{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch name, value, found := strings.Cut(line, ":"); {
		case line == "":
			return head, nil
		case len(head) == 0:
			head[""] = line
		case found:
			head[strings.ToLower(name)] += strings.TrimSpace(value)
		}
	}
}

// readBody reads and forgets a body, with a length or in chunks, and tells how long it was.
func readBody(r *bufio.Reader, head map[string]string) (int64, error) {
	if head["transfer-encoding"] != "chunked" {
		n, err := strconv.ParseInt(head["content-length"], 10, 64)
		if err != nil {
			return 0, nil
		}
		return io.CopyN(io.Discard, r, n)
	}
	for all := int64(0); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("read a chunk: %w", err)
		}
		if _, err := io.CopyN(io.Discard, r, n+2); err != nil {
			return 0, err
		}
		if all += n; n == 0 {
			return all, nil
		}
	}
}

// judge looks for what tracing must have written and for what must not leave the proxy.
func judge(h map[string]string, length int64) string {
	tp := h["traceparent"]
	switch {
	case len(tp) != 55 || tp[:3] != "00-":
		return "bad: traceparent " + tp
	case h["x-b3-traceid"] != tp[3:35] || h["x-b3-spanid"] != tp[36:52] || !strings.HasPrefix(h["b3"], tp[3:52]):
		return "bad: b3 contradicts traceparent"
	case (h["x-b3-sampled"] == "1") != (tp[53:] == "01"):
		return "bad: x-b3-sampled contradicts traceparent"
	case h["x-mizzen-route"] != "":
		return "bad: x-mizzen-route left the proxy"
	case len(h["x-request-id"]) != 36:
		return "bad: x-request-id " + h["x-request-id"]
	}
	return tp[53:] + " " + strconv.FormatInt(length, 10)
}
