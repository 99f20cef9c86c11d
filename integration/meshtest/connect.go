package meshtest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
)

// Isolated tells whether workloads have network namespaces of their own.
func (m *Mesh) Isolated() bool { return len(m.Ready.Workloads) > 0 && m.Ready.Workloads[0].Netns != "" }

// Machine is the address at which workloads reach what listens on the machine's 127.0.0.1.
func (m *Mesh) Machine() string {
	if m.Isolated() {
		return podnet.Gateway
	}
	return "127.0.0.1"
}

// Dialer connects to a port of a service, "host:port", as a workload's application does: from its network namespace if it has one, else to
// the port of its sidecar that leads there, which is 15001 for HTTP and the service's own for TCP.
func (m *Mesh) Dialer(t testing.TB, workload, to, sidecarPort string) func() (net.Conn, error) {
	t.Helper()
	proxy := m.Proxy(t, workload)
	if m.Isolated() {
		return func() (net.Conn, error) { return Connect(proxy, to) }
	}
	host, _, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	return func() (net.Conn, error) {
		return net.DialTimeout("tcp", net.JoinHostPort(host, sidecarPort), 5*time.Second)
	}
}

// Connect asks an HTTP proxy, such as a sidecar, for a connection to "host:port".
func Connect(proxy, to string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", proxy, 5*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the proxy answered %s", res.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return buffered{conn, r}, nil
}

// buffered is a connection of which something may have been read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
