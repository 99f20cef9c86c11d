package standin

import (
	"io"
	"net"
	"sync"
)

// connSet is the plain TCP connections that are open, so that Close can end them.
type connSet struct {
	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

// add returns false, and closes c, once the set is closed.
func (s *connSet) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	if s.open == nil {
		s.open = map[net.Conn]bool{}
	}
	s.open[c] = true
	return true
}

func (s *connSet) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *connSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
}

// serveTCP echoes bytes on each connection until the client is done.
func (a *App) serveTCP(l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !a.conns.add(c) {
			return
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer a.conns.remove(c)
			_, _ = io.Copy(c, c)
		}()
	}
}
