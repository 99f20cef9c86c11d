package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// request is what a browser's request to a shop looks like.
const request = "GET /productpage?id=7 HTTP/1.1\r\n" +
	"host: shop.default.svc.cluster.local\r\n" +
	"user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n" +
	"accept: text/html,application/xhtml+xml\r\n" +
	"accept-language: en\r\n" +
	"cookie: session=0123456789abcdef; theme=dark\r\n" +
	"x-user: ann\r\n\r\n"

const response = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n"

// upstream is the least server there can be: it answers every request with response.
type upstream struct {
	l    net.Listener
	port int
	wg   sync.WaitGroup
}

func newUpstream() (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the upstream: %w", err)
	}
	u := &upstream{l: l, port: l.Addr().(*net.TCPAddr).Port}
	u.wg.Add(1)
	go u.accept()
	return u, nil
}

func (u *upstream) close() { u.l.Close(); u.wg.Wait() }

func (u *upstream) accept() {
	defer u.wg.Done()
	for {
		c, err := u.l.Accept()
		if err != nil {
			return // closed
		}
		go serve(c)
	}
}

// serve ends when Envoy, which is stopped first, closes the connection.
func serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 4096)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) > 2 {
			continue
		}
		if _, err := io.WriteString(c, response); err != nil {
			return
		}
	}
}

// client is one keep-alive connection.
type client struct {
	c    net.Conn
	r    *bufio.Reader
	took []time.Duration // of the requests of its last run
}

func dial(addr string, connections int) ([]*client, error) {
	var all []*client
	for range connections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			hangUp(all)
			return nil, err
		}
		all = append(all, &client{c: c, r: bufio.NewReaderSize(c, 4096)})
	}
	return all, nil
}

func hangUp(all []*client) {
	for _, c := range all {
		c.c.Close()
	}
}

// load sends requests on every connection, one at a time on each, for about d, and returns how long each took to be
// answered with 200. Any other answer is an error.
func load(clients []*client, d time.Duration) ([]time.Duration, error) {
	end := time.Now().Add(d)
	errs := make(chan error, len(clients))
	for _, c := range clients {
		go func() { errs <- c.run(end) }()
	}
	var all error
	for range clients {
		all = errors.Join(all, <-errs)
	}
	var took []time.Duration
	for _, c := range clients {
		took = append(took, c.took...)
	}
	return took, all
}

func (c *client) run(end time.Time) error {
	c.took = c.took[:0]
	if err := c.c.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return err
	}
	for start := time.Now(); start.Before(end); {
		if _, err := io.WriteString(c.c, request); err != nil {
			return err
		}
		if err := readResponse(c.r); err != nil {
			return err
		}
		now := time.Now()
		c.took = append(c.took, now.Sub(start))
		start = now
	}
	return nil
}

// readResponse reads the head, and the body, which is response's.
func readResponse(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("unexpected answer: %q", line)
	}
	for len(line) > 2 {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	_, err = r.Discard(len("hello\n"))
	return err
}
