package intercept

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

const (
	xdsPort   = "15010"
	adminPort = 15000
	pagesPort = 15014
	// catalog is the service's virtual address.
	catalog = "http://10.96.0.10"
)

// Applications in two pods know nothing of a mesh; their traffic goes through both sidecars all the same.
func TestIntercept(t *testing.T) {
	for _, k := range []kind{{"delta", false, false}, {"state of the world", true, false}, {"the Go policies", false, true}} {
		t.Run(k.name, func(t *testing.T) {
			node, client, server := newPods(t)
			controlPlane(t, node)
			applications(t, server)
			envoy(t, client, config(t, client, "web-123", "web", k))
			envoy(t, server, config(t, server, "catalog-1", "catalog", k))
			c := client.Client()
			accepted(t, node)
			routed(t, c)
			if k.module {
				faulty(t, c)
			}
			inboundSeen(t, server)
			plainTCP(t, client)
			toItself(t, server)
			passthrough(t, client, c)
		})
	}
}

// kind is how the proxies ask, and whether they say that they can load the dynamic module.
type kind struct {
	name         string
	sotw, module bool
}

// config is a bootstrap as Istio's agent writes it; of Mizzen's metadata at most that it has the module.
func config(t *testing.T, p netnstest.Pod, name, app string, k kind) []byte {
	t.Helper()
	metadata := map[string]any{"NAMESPACE": "shop", "LABELS": map[string]string{"app": app, "version": "v1"}}
	if k.module {
		metadata["MIZZEN_FILTERS"] = "dynamic-module"
	}
	b, err := bootstrap.Config(bootstrap.Options{
		NodeID:     fmt.Sprintf("sidecar~%s~%s.shop~shop.svc.cluster.local", p.IP, name),
		Metadata:   metadata,
		XDSAddress: net.JoinHostPort(netnstest.Gateway, xdsPort), AdminPort: adminPort, StateOfTheWorld: k.sotw,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// controlPlane runs on the node until the test ends.
func controlPlane(t *testing.T, p netnstest.Pod) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, up := make(chan error, 1), make(chan struct{})
	go func() {
		done <- p.Inside(func() error {
			return run.Run(ctx, run.Options{
				Paths: []string{"testdata"}, XDSAddr: ":" + xdsPort, HTTPAddr: fmt.Sprintf("127.0.0.1:%d", pagesPort),
				Log: slog.New(slog.DiscardHandler), Listening: func(_, _ net.Addr) { close(up) },
			})
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
}

// applications of the server: HTTP that tells its peer, an echo, and one port that no service names.
func applications(t *testing.T, p netnstest.Pod) {
	t.Helper()
	hello := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s from %s", r.Host, r.RemoteAddr)
	})}
	t.Cleanup(func() { _ = hello.Close() })
	for _, l := range []net.Listener{p.Listen(t, ":8080"), p.Listen(t, ":7777")} {
		go func() { _ = hello.Serve(l) }()
	}
	echo := p.Listen(t, ":9000")
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
}

type answer struct {
	code       int
	body, from string
}

func get(c *http.Client, url, host string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = host
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Header.Get("x-routed-by")}, err
}

// accepted awaits that both proxies have everything, and that they rejected nothing.
func accepted(t *testing.T, node netnstest.Pod) {
	t.Helper()
	c := node.Client()
	pages := fmt.Sprintf("http://127.0.0.1:%d", pagesPort)
	envoytest.Await(t, 20*time.Second, "both proxies are synced", func() bool {
		a, err := get(c, pages+"/debug/syncz", "")
		return err == nil && strings.Count(a.body, `"synced": true`)+strings.Count(a.body, `"synced":true`) == 2
	})
	if a, err := get(c, pages+"/debug/diagnostics", ""); err != nil || strings.Contains(a.body, "MZ06") {
		t.Errorf("diagnostics: %v %s", err, a.body)
	}
}

// routed: rules act on a request to the service's virtual address.
func routed(t *testing.T, c *http.Client) {
	t.Helper()
	envoytest.Await(t, 10*time.Second, "traffic by the rules", func() bool {
		a, err := get(c, catalog, "catalog")
		return err == nil && a.code == 200
	})
	a, err := get(c, catalog, "catalog.shop.svc.cluster.local")
	if err != nil || a.code != 200 || a.from != "virtual-service" || !strings.Contains(a.body, "from 127.0.0.6:") {
		t.Errorf("want the application's answer to its sidecar (127.0.0.6) by the route with the header, got %+v %v", a, err)
	}
}

// faulty: the fault of the rules acts.
func faulty(t *testing.T, c *http.Client) {
	t.Helper()
	if a, err := get(c, catalog+"/broken", "catalog"); err != nil || a.code != 418 {
		t.Errorf("the fault does not act: %+v %v", a, err)
	}
}

// inboundSeen: the server's sidecar had the requests on its inbound listener.
func inboundSeen(t *testing.T, p netnstest.Pod) {
	t.Helper()
	a, err := get(p.Client(), fmt.Sprintf("http://127.0.0.1:%d/stats?filter=inbound.*upstream_rq_completed", adminPort), "")
	if err != nil || !regexp.MustCompile(`8080.*: [1-9]`).MatchString(a.body) {
		t.Errorf("requests at the server's inbound cluster: %v %s", err, a.body)
	}
}

func plainTCP(t *testing.T, p netnstest.Pod) {
	t.Helper()
	conn, err := p.Dial(context.Background(), "tcp", "10.96.0.10:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "ping" {
		t.Errorf("echo said %q, %v", b, err)
	}
	stats, err := get(p.Client(), fmt.Sprintf("http://127.0.0.1:%d/stats?filter=9000.*upstream_cx_total", adminPort), "")
	if err != nil || !strings.Contains(stats.body, ": 1") {
		t.Errorf("the client's sidecar did not see the connection: %v %s", err, stats.body)
	}
}

// toItself: a pod that calls the service that it is behind comes back to itself, through both of its listeners.
func toItself(t *testing.T, p netnstest.Pod) {
	t.Helper()
	if a, err := get(p.Client(), catalog, "catalog"); err != nil || a.code != 200 || a.from != "virtual-service" {
		t.Errorf("a pod that calls itself: %+v %v", a, err)
	}
}

// passthrough: what no service names goes on as it came, through both sidecars.
func passthrough(t *testing.T, p netnstest.Pod, c *http.Client) {
	t.Helper()
	if a, err := get(c, "http://10.88.0.3:7777", ""); err != nil || a.code != 200 {
		t.Errorf("an address that no service has: %+v %v", a, err)
	}
	stats, err := get(p.Client(), fmt.Sprintf("http://127.0.0.1:%d/stats?filter=PassthroughCluster.*upstream_cx_total", adminPort), "")
	if err != nil || !strings.Contains(stats.body, ": 1") {
		t.Errorf("it did not pass through the client's sidecar: %v %s", err, stats.body)
	}
}
