package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

const mixed = "10.96.0.20"

// Of ports that tell nothing each connection is looked at, by both sidecars: requests are routed by the rules, in whatever version of
// HTTP, and the rest goes on as it came, even where the server speaks first.
func TestDetection(t *testing.T) {
	node, client, server := newPods(t)
	controlPlane(t, node)
	applications(t, server)
	twoTongues(t, server.Listen(t, ":7000"))
	greeter(t, server.Listen(t, ":7001"))
	greeter(t, server.Listen(t, ":3306"))
	envoy(t, client, config(t, client, "web-123", "web", kind{}))
	envoy(t, server, config(t, server, "catalog-1", "catalog", kind{}))
	c := client.Client()
	accepted(t, node)
	envoytest.Await(t, 10*time.Second, "traffic by the rules", func() bool {
		a, err := get(c, "http://"+mixed+":7000", "whatever.example")
		return err == nil && a.code == 200 && a.from == "virtual-service" && a.body == "HTTP/1.1"
	})
	t.Run("HTTP/2", func(t *testing.T) {
		a, err := get(meshtest.HTTP2(t, client.Dial), "http://"+mixed+":7000", "mixed")
		if err != nil || a.from != "virtual-service" || a.body != "HTTP/2.0" {
			t.Errorf("prior knowledge got %+v %v", a, err)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		for _, port := range []string{"7000", "7002"} { // the second by a tcp route
			if said := say(t, client, net.JoinHostPort(mixed, port), "not a request\n"); said != "echo not a request\n" {
				t.Errorf("the application said %q on %s", said, port)
			}
		}
	})
	for _, port := range []string{"7001", "3306"} {
		t.Run("the server first on "+port, func(t *testing.T) {
			if said := say(t, client, net.JoinHostPort(mixed, port), ""); said != "welcome\n" {
				t.Errorf("the application said %q", said)
			}
		})
	}
	t.Run("two hosts on one port", func(t *testing.T) {
		if said := say(t, client, given(t, c, "one.example", 6000), ""); said != "welcome\n" {
			t.Errorf("the first said %q", said)
		}
		if said := say(t, client, given(t, c, "two.example", 6000), "hello\n"); said != "hello\n" {
			t.Errorf("the second said %q", said)
		}
	})
	t.Run("the host that TLS names", func(t *testing.T) { namedByTLS(t, client) })
	t.Run("seen as what they are", func(t *testing.T) {
		for port, what := range map[string]string{"7000": "upstream_rq_completed", "7001": "upstream_cx_total"} {
			stats, err := get(server.Client(), fmt.Sprintf("http://127.0.0.1:%d/stats?filter=^cluster.inbound.%s.*%s$", adminPort, port, what), "")
			if err != nil || !strings.Contains(stats.body, what) || strings.HasSuffix(strings.TrimSpace(stats.body), ": 0") {
				t.Errorf("%s of port %s at the server: %v %s", what, port, err, stats.body)
			}
		}
	})
}

// namedByTLS connects to an address where nobody is, and reaches the host that it names, which a wildcard covers.
func namedByTLS(t *testing.T, p netnstest.Pod) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.ServerName) }))
	s.Listener.Close()
	s.Listener = p.Listen(t, "127.0.0.1:443")
	s.StartTLS()
	t.Cleanup(s.Close)
	conn, err := p.Dial(context.Background(), "tcp", "10.55.0.9:443")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, &tls.Config{ServerName: "any.dyn.localhost", InsecureSkipVerify: true}) // the test server's name is example.com
	defer secure.Close()
	_ = secure.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(secure, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "any.dyn.localhost" {
		t.Errorf("the server saw the name %q (%v)", b, err)
	}
}

// given is the address that a host without any was given, as the client's listeners have it, with a port.
func given(t *testing.T, c *http.Client, host string, port int) string {
	t.Helper()
	dump, err := get(c, fmt.Sprintf("http://127.0.0.1:%d/config_dump?resource=dynamic_listeners", adminPort), "")
	if err != nil {
		t.Fatal(err)
	}
	var listeners struct{ Configs []json.RawMessage }
	if err := json.Unmarshal([]byte(dump.body), &listeners); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(fmt.Sprintf(`"name": ?"(240\.240\.[\d.]+)_%d"`, port))
	for _, l := range listeners.Configs {
		if m := name.FindSubmatch(l); m != nil && strings.Contains(string(l), fmt.Sprintf("outbound|%d||%s", port, host)) {
			return net.JoinHostPort(string(m[1]), fmt.Sprint(port))
		}
	}
	t.Fatalf("no listener on a given address leads to %s", host)
	return ""
}

// say sends a line, if there is one, and reads one.
func say(t *testing.T, p netnstest.Pod, to, line string) string {
	t.Helper()
	conn, err := p.Dial(context.Background(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, line); err != nil {
		t.Fatal(err)
	}
	back, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("after %q: %v", back, err)
	}
	return back
}

// twoTongues answers requests with their version, and lines with an echo.
func twoTongues(t *testing.T, l net.Listener) {
	requests := make(chan net.Conn)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(handed{l, requests}) }()
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(requests)
				return
			}
			go func() {
				r := bufio.NewReader(c)
				if begin, _ := r.Peek(3); string(begin) == "GET" || string(begin) == "PRI" {
					requests <- peeked{c, r}
					return
				}
				defer c.Close()
				line, _ := r.ReadString('\n')
				_, _ = io.WriteString(c, "echo "+line)
			}()
		}
	}()
}

// greeter speaks first.
func greeter(t *testing.T, l net.Listener) {
	t.Helper()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "welcome\n")
			c.Close()
		}
	}()
}

// handed is a listener of connections that someone else accepted.
type handed struct {
	net.Listener
	conns chan net.Conn
}

func (h handed) Accept() (net.Conn, error) {
	if c, ok := <-h.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// peeked is a connection of which something was read already.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }
