package run

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

const wait = 10 * time.Second

const service = `apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec: {hosts: [reviews], http: [{route: [{destination: {host: nobody}}]}]}
`

// start runs a control plane over a directory and returns its addresses, its log, and a function that stops it.
func start(t *testing.T, dir string) (xds, pages string, log *textlog.Buffer, stop func() error) {
	t.Helper()
	return startAt(t, dir, "127.0.0.1:0")
}

func startAt(t *testing.T, dir, addr string) (xds, pages string, log *textlog.Buffer, stop func() error) {
	t.Helper()
	log = &textlog.Buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan [2]string, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Paths: []string{dir}, XDSAddr: addr, HTTPAddr: "127.0.0.1:0",
			Log: slog.New(slog.NewTextHandler(log, nil)), Version: "test",
			Listening: func(x, h net.Addr) { up <- [2]string{x.String(), h.String()} }})
	}()
	t.Cleanup(cancel)
	select {
	case a := <-up:
		return a[0], a[1], log, func() error { cancel(); return <-done }
	case err := <-done:
		t.Fatal(err)
	}
	return
}

func fetch(t *testing.T, url string, into any) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	return string(raw)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(service)
	xds, pages, log, stop := start(t, dir)
	eventually(t, "configuration is read", func() bool { return strings.HasPrefix(fetch(t, "http://"+pages+"/ready", nil), "ok") })

	names := clustersOf(t, xds)
	if got := <-names; !slices.Contains(got, "outbound|9080||reviews.default.svc.cluster.local") {
		t.Errorf("clusters %v", got)
	}
	var ds []struct {
		Position struct{ File string }
	}
	if fetch(t, "http://"+pages+"/debug/diagnostics", &ds); len(ds) == 0 || ds[0].Position.File != file {
		t.Errorf("diagnostics %v", ds)
	}
	write(strings.ReplaceAll(service, "9080", "9081"))
	if got := <-names; !slices.Contains(got, "outbound|9081||reviews.default.svc.cluster.local") {
		t.Errorf("after the edit: clusters %v", got)
	}
	var list []server.ProxyStatus
	if fetch(t, "http://"+pages+"/debug/syncz", &list); len(list) != 1 || list[0].Proxy != "curl.default" {
		t.Errorf("syncz %+v", list)
	}
	if n := strings.Count(log.String(), "nobody"); n != 1 {
		t.Errorf("a diagnostic in force was logged %d times, want once:\n%s", n, log)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// clustersOf asks for clusters and gives the names in each response.
func clustersOf(t *testing.T, addr string) <-chan []string {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xdsgen.TypeCluster,
		Node: &corev3.Node{Id: "sidecar~127.1.0.9~curl.default~default.svc.cluster.local"}}); err != nil {
		t.Fatal(err)
	}
	out := make(chan []string)
	go func() {
		defer close(out)
		for {
			r, err := st.Recv()
			if err != nil {
				return
			}
			var names []string
			for _, x := range r.Resources {
				var c clusterv3.Cluster
				if x.Resource.UnmarshalTo(&c) == nil {
					names = append(names, c.Name)
				}
			}
			_ = st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xdsgen.TypeCluster, ResponseNonce: r.Nonce})
			select {
			case out <- names:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(context.Background(), Options{Paths: []string{t.TempDir()}, XDSAddr: l.Addr().String(), HTTPAddr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "listen for xDS") {
		t.Errorf("error %v", err)
	}
}

func TestMissingPath(t *testing.T) {
	err := Run(context.Background(), Options{Paths: []string{filepath.Join(t.TempDir(), "none")}, XDSAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Error("no error for a path that is not there")
	}
}
