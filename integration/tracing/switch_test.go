package tracing_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// newSwitch is a TCP proxy to a port that can be made to look dead: connections are then cut, and refused.
func newSwitch(t *testing.T, to int) (port int, away func(bool)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		dead  bool
		conns = map[net.Conn]bool{}
		wg    sync.WaitGroup
	)
	cut := func() {
		for c := range conns {
			c.Close()
			delete(conns, c)
		}
	}
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to}).String())
			mu.Lock()
			if err != nil || dead {
				in.Close()
				if err == nil {
					out.Close()
				}
				mu.Unlock()
				continue
			}
			conns[in], conns[out] = true, true
			mu.Unlock()
			for _, p := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					_, _ = io.Copy(p[0], p[1]) // it is cut
					p[0].Close()
					p[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		dead = true
		cut()
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port, func(is bool) {
		mu.Lock()
		defer mu.Unlock()
		if dead = is; dead {
			cut()
		}
	}
}

// has tells whether a statistic's name has a part.
func has(name, part string) bool { return strings.Contains(name, part) }
