package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// history tells which configurations may be in force: main writes it, connections read it.
type history struct {
	written   atomic.Int64 // the last generation that was published
	confirmed atomic.Int64 // the last that Envoy has said to use; its workers follow within the next change
}

// since returns the generations that may have been in force from the time that confirmed tells of until now.
func (h *history) since(confirmed int64) []generation {
	var all []generation
	for n := max(confirmed-1, 0); n <= h.written.Load(); n++ {
		all = append(all, newGeneration(int(n)))
	}
	return all
}

// tally is what the connections of one Envoy have seen.
type tally struct {
	requests   atomic.Int64 // answered
	unexpected atomic.Int64
	left       atomic.Int64 // clients that went away during a delay
	closed     atomic.Int64 // connections that Envoy closed while they had no request in progress
	dialled    atomic.Int64
}

// client is one of the connections, dialled again and again.
type client struct {
	addr string
	id   int
	rand *rand.Rand
	hist *history
	all  *tally
	log  *slog.Logger

	c      net.Conn // nil: not connected
	r      *bufio.Reader
	used   bool  // c has served a request
	from   int64 // hist.confirmed when c was dialled
	serial int
}

// errStale says that the connection had been closed before the request came.
var errStale = errors.New("the connection was closed meanwhile")

// answerWithin bounds the wait for an answer: far beyond every delay.
const answerWithin = 20 * time.Second

// run sends requests until stop is closed.
func (c *client) run(stop <-chan struct{}) {
	defer c.hangUp()
	for {
		select {
		case <-stop:
			return
		default:
		}
		switch k := c.draw(); k {
		case keyed:
			c.series()
		case hang:
			c.leave()
		default:
			c.ask(k, fmt.Sprintf("u%d", c.rand.IntN(1000)))
		}
	}
}

func (c *client) draw() kind {
	n := c.rand.IntN(1000)
	for k := range kinds {
		if n -= shares[k]; n < 0 {
			return k
		}
	}
	return plain
}

// series uses up the quota of a new key, and asks twice more. A connection that is lost on the way ends it: the
// request may have been counted.
func (c *client) series() {
	c.serial++
	key := fmt.Sprintf("k%d-%d", c.id, c.serial)
	for i := range keyedLimit + 2 {
		k := keyed
		if i >= keyedLimit {
			k = over
		}
		if !c.ask(k, key) {
			return
		}
	}
}

// ask sends a request and judges its answer; false: there was none.
func (c *client) ask(k kind, who string) bool {
	if err := c.connect(); err != nil {
		c.wrong(k, err)
		return false
	}
	confirmed := c.hist.confirmed.Load()
	a, again, err := c.exchange(k, who)
	if errors.Is(err, errStale) {
		c.all.closed.Add(1)
		c.hangUp()
		return false
	}
	c.all.requests.Add(1)
	if err == nil {
		err = explain(k, a, c.hist.since(confirmed), c.hist.since(c.from))
	}
	if err != nil {
		c.wrong(k, err)
	}
	if !again {
		c.hangUp()
	}
	return true
}

// leave begins a request and goes away during its delay.
func (c *client) leave() {
	if err := c.connect(); err != nil {
		c.wrong(hang, err)
		return
	}
	_, _ = io.WriteString(c.c, head(hang, "")) // a stale connection is as good as one that is left
	_ = c.c.SetReadDeadline(time.Now().Add(time.Duration(1+c.rand.IntN(30)) * time.Millisecond))
	if b, err := c.r.ReadByte(); err == nil {
		c.wrong(hang, fmt.Errorf("answered at once, with %q", b))
	}
	c.all.left.Add(1)
	c.hangUp()
}

func (c *client) wrong(k kind, err error) {
	if n := c.all.unexpected.Add(1); n <= 20 {
		c.log.Error("unexpected answer", "kind", int(k), "connection", c.id, "generation", c.hist.written.Load(), "error", err)
	}
	c.hangUp()
}

func (c *client) connect() error {
	if c.c != nil {
		return nil
	}
	c.from = c.hist.confirmed.Load()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	c.all.dialled.Add(1)
	c.c, c.used = conn, false
	if c.r == nil {
		c.r = bufio.NewReaderSize(conn, 4096)
	}
	c.r.Reset(conn)
	return nil
}

func (c *client) hangUp() {
	if c.c != nil {
		c.c.Close()
		c.c = nil
	}
}

// head is a request without its body: what a browser's request to a shop looks like.
func head(k kind, who string) string {
	method := "GET"
	if k == upload {
		method = "POST"
	}
	return method + " /productpage?id=7 HTTP/1.1\r\nhost: shop.default.svc.cluster.local\r\n" +
		"user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\naccept: text/html\r\n" +
		"cookie: session=0123456789abcdef; theme=dark\r\n" + k.headers(who) + "\r\n"
}

var uploadBody = strings.Repeat("x", uploadSize)

// exchange sends one request on the open connection and reads the answer. again: the connection may be used again.
func (c *client) exchange(k kind, who string) (a answer, again bool, err error) {
	start := time.Now()
	if err := c.c.SetDeadline(start.Add(answerWithin)); err != nil {
		return a, false, err
	}
	text := head(k, who)
	if k == upload {
		text += uploadBody
	}
	if _, err := io.WriteString(c.c, text); err != nil {
		return a, false, c.stale(err)
	}
	if _, err := c.r.Peek(1); err != nil {
		return a, false, c.stale(err)
	}
	headers, err := readHead(c.r)
	if err != nil {
		return a, false, fmt.Errorf("read the head of an answer: %w", err)
	}
	length, err := strconv.Atoi(headers["content-length"])
	if err != nil {
		return a, false, fmt.Errorf("read the length of an answer: %w", err)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return a, false, fmt.Errorf("read an answer: %w", err)
	}
	c.used = true
	words := strings.Fields(headers[""])
	if len(words) < 2 {
		return a, false, fmt.Errorf("read an answer: its first line is %q", headers[""])
	}
	a.status, _ = strconv.Atoi(words[1])
	a.canary, a.body, a.took = headers["x-canary"], string(body), time.Since(start)
	return a, headers["connection"] != "close", nil
}

// stale turns the end of a connection that has served before into errStale: Envoy had closed it while nothing was
// under way, as every keep-alive client must expect.
func (c *client) stale(err error) error {
	var timeout net.Error
	if !c.used || errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	return errStale
}
