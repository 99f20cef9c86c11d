package server

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// wait bounds everything that a test waits for.
const wait = 10 * time.Second

func anyOf(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// small is one cluster and one listener whose versions are the world's domain suffix, and the module's presence.
func small(t *testing.T) func(*mesh.World, mesh.Node, bool) (*xdsgen.Resources, error) {
	return func(w *mesh.World, n mesh.Node, _ bool) (*xdsgen.Resources, error) {
		c, l := res("a@"+w.Settings.DomainSuffix), res("l@1", "a")
		c.Body = anyOf(t, &clusterv3.Cluster{Name: "a"})
		l.Body = anyOf(t, &listenerv3.Listener{Name: "l"})
		if n.Module {
			l.Version = "module"
		}
		return &xdsgen.Resources{Clusters: []*xdsgen.Resource{c}, Listeners: []*xdsgen.Resource{l}}, nil
	}
}

func world(v string) *mesh.World { return &mesh.World{Settings: mesh.Settings{DomainSuffix: v}} }

// serve starts a server in memory and connects a client to it.
func serve(t *testing.T, o Options) (*Server, discoveryv3.AggregatedDiscoveryServiceClient) {
	t.Helper()
	if o.Build == nil {
		o.Build = small(t)
	}
	s := New(o)
	g := grpc.NewServer(Codec())
	s.Register(g)
	lis := bufconn.Listen(1 << 20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(lis)
	}()
	cc, err := grpc.NewClient("passthrough:///mem", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		_ = cc.Close()
		g.Stop()
		<-done
	})
	return s, discoveryv3.NewAggregatedDiscoveryServiceClient(cc)
}

func node(id string) *corev3.Node {
	return &corev3.Node{Id: "sidecar~127.1.0.7~" + id + ".default~default.svc.cluster.local"}
}

// deltaClient is a delta stream whose answers can be waited for.
type deltaClient struct {
	t  *testing.T
	st discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func dial(t *testing.T, c discoveryv3.AggregatedDiscoveryServiceClient) *deltaClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	st, err := c.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &deltaClient{t, st}
}

func (d *deltaClient) send(q *discoveryv3.DeltaDiscoveryRequest) {
	d.t.Helper()
	if err := d.st.Send(q); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deltaClient) recv(k kind) *discoveryv3.DeltaDiscoveryResponse {
	d.t.Helper()
	r, err := d.st.Recv()
	if err != nil {
		d.t.Fatal(err)
	}
	if r.TypeUrl != k.url() {
		d.t.Fatalf("received %s, want %s", r.TypeUrl, k.url())
	}
	return r
}

func (d *deltaClient) ack(k kind, nonce string) {
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResponseNonce: nonce})
}

// settle awaits a condition on the server's status.
func settle(t *testing.T, s *Server, what string, ok func([]ProxyStatus) bool) {
	t.Helper()
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok(s.Status()) {
			return
		}
	}
	t.Fatalf("never: %s; status %+v", what, s.Status())
}

func synced(ps []ProxyStatus) bool { return len(ps) == 1 && ps[0].Synced }

func TestDeltaStream(t *testing.T) {
	s, c := serve(t, Options{})
	s.Publish(world("1"))
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("reviews-v1-0"), TypeUrl: clusters.url()})
	r := d.recv(clusters)
	if len(r.Resources) != 1 || r.Resources[0].Name != "a" || r.Resources[0].Version != "1" {
		t.Fatalf("received %v", r)
	}
	d.ack(clusters, r.Nonce)
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners.url()})
	d.ack(listeners, d.recv(listeners).Nonce)
	settle(t, s, "synced", synced)
	s.Publish(world("2"))
	r = d.recv(clusters)
	if r.Resources[0].Version != "2" {
		t.Fatalf("received version %s, want 2", r.Resources[0].Version)
	}
	d.ack(clusters, r.Nonce)
	settle(t, s, "synced again", func(p []ProxyStatus) bool { return synced(p) && p[0].Generation == 2 })
	if p := s.Status()[0]; p.Proxy != "reviews-v1-0.default" || p.Types["cds"].State != StateSynced || p.Types["eds"].State != StateNotSent {
		t.Errorf("status %+v", p)
	}
}

func TestStateStream(t *testing.T) {
	s, c := serve(t, Options{})
	s.Publish(world("1"))
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	st, err := c.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []kind{clusters, listeners} {
		if err := st.Send(&discoveryv3.DiscoveryRequest{Node: node("x"), TypeUrl: k.url()}); err != nil {
			t.Fatal(err)
		}
		r, err := st.Recv()
		if err != nil || r.TypeUrl != k.url() || len(r.Resources) != 1 || r.VersionInfo == "" {
			t.Fatalf("received %v, %v", r, err)
		}
		if err := st.Send(&discoveryv3.DiscoveryRequest{TypeUrl: k.url(), VersionInfo: r.VersionInfo, ResponseNonce: r.Nonce}); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, s, "synced", synced)
}

func TestReconnectIsSilent(t *testing.T) {
	s, c := serve(t, Options{})
	d := dial(t, c) // before anything is published, as after a restart of the control plane
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url(), InitialResourceVersions: map[string]string{"a": "1"}})
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners.url(), InitialResourceVersions: map[string]string{"l": "1"}})
	s.Publish(world("1"))
	settle(t, s, "synced", synced)
	if m := scrape(t, s, "/metrics"); !strings.Contains(m, `pilot_xds_pushes{type="cds"} 0`) || !strings.Contains(m, `pilot_xds_pushes{type="lds"} 0`) {
		t.Error("something was pushed to a proxy that has everything")
	}
}

func TestRejectionBecomesDiagnostic(t *testing.T) {
	s, c := serve(t, Options{})
	s.Publish(world("1"))
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url()})
	r := d.recv(clusters)
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters.url(), ResponseNonce: r.Nonce, ErrorDetail: &status.Status{Message: "a: no <b>good</b>"}})
	settle(t, s, "rejected", func(p []ProxyStatus) bool { return len(p) == 1 && p[0].Types["cds"].State == StateError })
	ds := s.Diagnostics()
	if len(ds) != 1 || ds[0].Code != CodeRejected || ds[0].Position != (istio.Position{File: "a.yaml", Line: 7}) ||
		ds[0].Object != (istio.Ref{Kind: "VirtualService", Namespace: "default", Name: "of-a"}) || !strings.Contains(ds[0].Message, "no <b>good</b>") {
		t.Fatalf("diagnostics %v", ds)
	}
	if page := scrape(t, s, "/"); !strings.Contains(page, "no &lt;b&gt;good&lt;/b&gt;") || strings.Contains(page, "<b>good") {
		t.Error("Envoy's message is not escaped on the page")
	}
	s.Publish(world("2"))
	d.ack(clusters, d.recv(clusters).Nonce)
	settle(t, s, "mended", func([]ProxyStatus) bool { return len(s.Diagnostics()) == 0 })
}

func TestModuleThatDoesNotLoad(t *testing.T) {
	s, c := serve(t, Options{})
	s.Publish(world("1"))
	n := node("x")
	n.Metadata = metadata(t, map[string]any{"MIZZEN_FILTERS": "dynamic-module"})
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: n, TypeUrl: clusters.url()})
	d.ack(clusters, d.recv(clusters).Nonce)
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners.url()})
	r := d.recv(listeners)
	if r.Resources[0].Version != "module" {
		t.Fatalf("received %v", r)
	}
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners.url(), ResponseNonce: r.Nonce, ErrorDetail: &status.Status{
		Message: "Error adding/updating listener(s) l: Failed to load dynamic module: libmizzen.so: cannot open shared object file"}})
	if r = d.recv(listeners); r.Resources[0].Version != "1" {
		t.Fatalf("received %v, want native routes", r)
	}
	d.ack(listeners, r.Nonce)
	settle(t, s, "synced without the module", func(p []ProxyStatus) bool { return synced(p) && !p[0].Module })
	if ds := s.Diagnostics(); len(ds) != 1 || ds[0].Code != CodeNoModule {
		t.Errorf("diagnostics %v", ds)
	}
}

func TestSilentProxyIsTold(t *testing.T) {
	s, c := serve(t, Options{AckTimeout: 10 * time.Millisecond})
	s.Publish(world("1"))
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url()})
	d.recv(clusters)
	settle(t, s, "a diagnostic of the silence", func([]ProxyStatus) bool {
		ds := s.Diagnostics()
		return len(ds) == 1 && ds[0].Code == CodeSilent
	})
}

func TestPublicationsAreGathered(t *testing.T) {
	var builds atomic.Int64
	build := small(t)
	s, c := serve(t, Options{Quiet: 20 * time.Millisecond, MaxQuiet: time.Second, Build: func(w *mesh.World, n mesh.Node, delta bool) (*xdsgen.Resources, error) {
		builds.Add(1)
		return build(w, n, delta)
	}})
	s.Publish(world("0"))
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url()})
	d.ack(clusters, d.recv(clusters).Nonce)
	before := builds.Load()
	for _, v := range strings.Split("123456789", "") {
		s.Publish(world(v))
	}
	if r := d.recv(clusters); r.Resources[0].Version != "9" {
		t.Errorf("received version %s, want only the last, 9", r.Resources[0].Version)
	}
	if n := builds.Load() - before; n != 1 {
		t.Errorf("built %d times for nine publications close together", n)
	}
}

func TestPanicInBuild(t *testing.T) {
	s, c := serve(t, Options{Build: func(*mesh.World, mesh.Node, bool) (*xdsgen.Resources, error) { panic("boom") }})
	s.Publish(world("1"))
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url()})
	settle(t, s, "told", func([]ProxyStatus) bool {
		ds := s.Diagnostics()
		return len(ds) == 1 && ds[0].Code == CodeBuild && strings.Contains(ds[0].Message, "boom")
	})
}

func TestFirstRequestMustNameANode(t *testing.T) {
	_, c := serve(t, Options{})
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusters.url()})
	if _, err := d.st.Recv(); err == nil || err == io.EOF {
		t.Errorf("no complaint about a missing node: %v", err)
	}
}

func TestPages(t *testing.T) {
	s, c := serve(t, Options{Calls: func(context.Context, string) ([]byte, error) { return []byte("<svg/>"), nil }})
	if got := code(s, "/ready"); got != http.StatusServiceUnavailable {
		t.Errorf("/ready %d before configuration, want 503", got)
	}
	s.Publish(world("1"))
	d := dial(t, c)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node("x"), TypeUrl: clusters.url()})
	d.ack(clusters, d.recv(clusters).Nonce)
	settle(t, s, "acknowledged", func(p []ProxyStatus) bool { return p[0].Types["cds"].State == StateSynced })
	for _, p := range append(s.pages(), page{path: "/debug/config_dump?proxyID=x.default"}) {
		want := http.StatusOK
		if p.path == "/debug/config_dump" {
			want = http.StatusBadRequest
		}
		if got := code(s, p.path); got != want {
			t.Errorf("%s: %d, want %d", p.path, got, want)
		}
	}
	if got := code(s, "/debug/config_dump?proxyID=nobody"); got != http.StatusNotFound {
		t.Errorf("dump of nobody: %d, want 404", got)
	}
	if dump := scrape(t, s, "/debug/config_dump?proxyID=x.default"); !strings.Contains(dump, "dynamic_active_clusters") {
		t.Errorf("dump %s", dump)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(scrape(t, s, "/debug/syncz")), &list); err != nil || len(list) != 1 || list[0]["proxy"] != "x.default" || list[0]["synced"] != false {
		t.Errorf("syncz %v %v", list, err)
	}
}

func code(s *Server, path string) int {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code
}

func scrape(t *testing.T, s *Server, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}
