package identity

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Behind mesh TLS nobody can look at the first bytes: the client's sidecar, which could, says by ALPN what is in there. Requests and
// bytes get through to ports that tell nothing whether plaintext is taken beside it or not.
func TestDetectedInsideTLS(t *testing.T) {
	m := shared.Mesh(t)
	proxy := m.Proxy(t, client)
	host, _, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"PERMISSIVE", "STRICT"} {
		t.Run(mode, func(t *testing.T) {
			m.Apply(t, policy(mode))
			plain := mode == "PERMISSIVE"
			meshtest.Eventually(t, "the mode is in force", func() bool {
				_, err := plaintext(address(t, m, "reviews-0", 9100))
				return (err == nil) == plain && echoes(address(t, m, "reviews-0", 9200)) == plain
			})
			before := m.Stat(t, "reviews-0", secureConnections)
			m.From(t, client).Await(t, "requests", func(a meshtest.Answer) bool {
				return a.Code == 200 && strings.HasPrefix(a.Body, "reviews ")
			}, "http://mixed:9100/")
			if !echoes(net.JoinHostPort(host, "9200")) {
				t.Error("bytes by the client's own listener do not come back")
			}
			if back, err := echoInTunnel(proxy, "mixed:9200"); err != nil || back != "hello\n" {
				t.Errorf("bytes in a tunnel: %q %v", back, err)
			}
			if n := m.Stat(t, "reviews-0", secureConnections) - before; n < 2 {
				t.Errorf("%d TLS handshakes for two connections of bytes", n)
			}
		})
	}
}

// secureConnections are those of the two ports.
const secureConnections = `^listener\..*_9[12]00\.ssl\.handshake$`

// echoInTunnel asks an HTTP proxy for a connection, says hello in it and returns what comes back.
func echoInTunnel(proxy, to string) (string, error) {
	conn, err := meshtest.Connect(proxy, to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}
