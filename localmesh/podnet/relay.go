package podnet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout is what the other side of a relay has to answer.
const dialTimeout = 10 * time.Second

// relay connects each connection that comes to a listener, until that is closed: to what dial says.
func (n *Network) relay(l net.Listener, dial func(context.Context, net.Conn) (net.Conn, error)) {
	n.relays.Add(1)
	go func() {
		defer n.relays.Done()
		ctx, end := context.WithCancel(n.ctx)
		defer end()
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many files
				time.Sleep(10 * time.Millisecond)
				continue
			}
			n.relays.Add(1)
			go func() { defer n.relays.Done(); n.join(ctx, c, dial) }()
		}
	}()
}

// join passes bytes between a connection and the one that dial makes for it. Each side hears when the other has said all. Where there is
// nobody, the connection is reset.
func (n *Network) join(ctx context.Context, c net.Conn, dial func(context.Context, net.Conn) (net.Conn, error)) {
	defer c.Close()
	up, err := dial(ctx, c)
	if err != nil {
		n.log.Debug("nobody to connect to", "from", c.RemoteAddr(), "error", err)
		reset(c)
		return
	}
	defer up.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = c.Close(), up.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Add(2)
	pass := func(to, from net.Conn) {
		defer both.Done()
		if _, err := io.Copy(to, from); err != nil {
			reset(to)
			reset(from)
			_, _ = to.Close(), from.Close()
			return
		}
		if t, ok := to.(interface{ CloseWrite() error }); ok {
			_ = t.CloseWrite()
		}
	}
	go pass(up, c)
	go pass(c, up)
	both.Wait()
}

// reset has a connection end as one that nobody takes.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}
