package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// res makes a resource: "name@version", naming clusters.
func res(spec string, clusters ...string) *xdsgen.Resource {
	name, version, _ := strings.Cut(spec, "@")
	return &xdsgen.Resource{Name: name, Version: version, Clusters: clusters,
		Origins: []mesh.Origin{{Kind: "VirtualService", Namespace: "default", Name: "of-" + name, File: "a.yaml", Line: 7}}}
}

// vhost makes "table/host@version".
func vhost(spec string, clusters ...string) *xdsgen.Resource {
	r := res(spec, clusters...)
	r.Table, _, _ = strings.Cut(r.Name, "/")
	return r
}

func listener(spec, table string) *xdsgen.Resource {
	r := res(spec)
	r.Table = table
	return r
}

// shop is a proxy's resources: clusters a (with endpoints) and p (without), a listener, a table and a virtual host.
func shop() *xdsgen.Resources {
	return &xdsgen.Resources{
		Clusters:     []*xdsgen.Resource{res("a@1"), res("p@1")},
		Endpoints:    []*xdsgen.Resource{res("a@1")},
		Listeners:    []*xdsgen.Resource{listener("l@1", "80")},
		Routes:       []*xdsgen.Resource{res("80@1", "p")},
		VirtualHosts: []*xdsgen.Resource{vhost("80/a@1", "a")},
		InlineRoutes: []*xdsgen.Resource{res("80@1", "a", "p")},
	}
}

// wantAll is setWant of what Build makes.
func (s *session) wantAll(r *xdsgen.Resources) { s.setWant(r.Sets(s.delta)) }

func clone(r *xdsgen.Resources) *xdsgen.Resources { c := *r; return &c }

// bench drives a session by hand, with a clock of its own.
type bench struct {
	t   *testing.T
	s   *session
	now time.Time
	out map[kind]*response // last response of each kind
}

func newBench(t *testing.T, delta bool, want *xdsgen.Resources) *bench {
	b := &bench{t: t, s: newSession(delta, limits{ack: 10 * time.Second, linger: 2 * time.Second}),
		now: time.Unix(1000, 0), out: map[kind]*response{}}
	if want != nil {
		b.s.wantAll(want)
	}
	return b
}

// step gives what is sent now, as "cds+a,p" or "vhds-80/a", in order.
func (b *bench) step() string {
	var parts []string
	for _, r := range b.s.next(b.now) {
		b.out[r.kind] = r
		p := r.kind.short()
		if len(r.set) > 0 || len(r.gone) == 0 {
			p += "+" + join(r.set)
		}
		if len(r.gone) > 0 {
			p += "-" + strings.Join(r.gone, ",")
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, " ")
}

func join(rs []*xdsgen.Resource) string {
	var names []string
	for _, r := range rs {
		names = append(names, r.Name)
	}
	return strings.Join(names, ",")
}

func (b *bench) expect(want string) {
	b.t.Helper()
	if got := b.step(); got != want {
		b.t.Fatalf("sent %q, want %q", got, want)
	}
}

func (b *bench) subscribe(k kind, names ...string) event {
	return b.s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResourceNamesSubscribe: names})
}

func (b *bench) unsubscribe(k kind, names ...string) {
	b.s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResourceNamesUnsubscribe: names})
}

func (b *bench) resume(k kind, have map[string]string, names ...string) {
	b.s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResourceNamesSubscribe: names, InitialResourceVersions: have})
}

func (b *bench) ack(ks ...kind) {
	b.t.Helper()
	for _, k := range ks {
		if !b.s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResponseNonce: b.out[k].nonce}).acked {
			b.t.Fatalf("ack of %s was stale", k.short())
		}
	}
}

func (b *bench) nack(k kind, text string) event {
	return b.s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: k.url(), ResponseNonce: b.out[k].nonce,
		ErrorDetail: &status.Status{Message: text}})
}

// start takes a delta proxy through what Envoy does when it starts.
func (b *bench) start() {
	b.t.Helper()
	b.subscribe(clusters)
	b.expect("cds+a,p")
	b.subscribe(endpoints, "a")
	b.expect("eds+a")
	b.ack(endpoints, clusters)
	b.subscribe(listeners)
	b.expect("lds+l")
	b.ack(listeners)
	b.subscribe(routes, "80")
	b.expect("rds+80")
	b.subscribe(hosts)
	b.expect("")
	b.ack(routes)
	b.expect("vhds+80/a")
	if b.s.acknowledged() {
		b.t.Fatal("acknowledged before the virtual hosts were")
	}
	b.ack(hosts)
	b.expect("")
	if !b.s.acknowledged() {
		b.t.Fatal("not acknowledged after everything was")
	}
}

func TestStart(t *testing.T) { newBench(t, true, shop()).start() }

func TestNothingBeforeAWorld(t *testing.T) {
	b := newBench(t, true, nil)
	b.subscribe(clusters)
	b.expect("")
	b.s.wantAll(shop())
	b.expect("cds+a,p")
}

func TestOneVirtualHostTravelsAlone(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "a"), vhost("80/b@1", "p")}
	b.s.wantAll(w)
	b.expect("vhds+80/a,80/b")
	b.ack(hosts)
	b.s.wantAll(shop())
	b.expect("vhds+80/a-80/b")
	b.ack(hosts)
	b.expect("")
}

func TestRouteWaitsForItsCluster(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.Clusters = append(w.Clusters, res("q@1"))
	w.Endpoints = append(w.Endpoints, res("q@1"))
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "a", "q")}
	b.s.wantAll(w)
	b.expect("cds+q")
	b.subscribe(endpoints, "q")
	b.expect("eds+q")
	b.ack(clusters)
	b.expect("") // endpoints still missing
	if b.s.acknowledged() || b.s.quiet() {
		t.Fatal("acknowledged while a virtual host is held back")
	}
	b.ack(endpoints)
	b.expect("vhds+80/a")
}

func TestClusterOutlivesItsRoutes(t *testing.T) {
	w := clone(shop())
	w.Clusters = append(w.Clusters, res("q@1"))
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "q")}
	b := newBench(t, true, shop())
	b.start()
	b.s.wantAll(w)
	b.expect("cds+q")
	b.ack(clusters)
	b.expect("vhds+80/a")
	b.ack(hosts)
	b.s.wantAll(shop())
	b.expect("vhds+80/a")
	b.now = b.now.Add(5 * time.Second)
	b.expect("") // not acknowledged yet
	b.ack(hosts)
	b.expect("") // acknowledged, but requests may still be on their way
	if !b.s.acknowledged() {
		t.Error("a lingering cluster must not count as unacknowledged")
	}
	if at, ok := b.s.deadline(); !ok || at != b.now.Add(2*time.Second) {
		t.Errorf("deadline %v %v, want in 2s", at.Sub(b.now), ok)
	}
	b.now = b.now.Add(2 * time.Second)
	b.expect("cds-q")
	b.ack(clusters)
	if at, ok := b.s.deadline(); ok {
		t.Errorf("deadline in %v after everything was done", at.Sub(b.now))
	}
}

func TestChangedClusterGetsItsEndpointsAgain(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.Clusters = []*xdsgen.Resource{res("a@2"), res("p@1")}
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "a")}
	b.s.wantAll(w)
	b.expect("cds+a eds+a")
	b.ack(endpoints)
	b.expect("")
	b.ack(clusters)
	b.expect("vhds+80/a")
}

func TestEndpointsGoAtOnce(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	for v := 2; v < 5; v++ {
		w := clone(shop())
		w.Endpoints = []*xdsgen.Resource{res(fmt.Sprintf("a@%d", v))}
		b.s.wantAll(w)
		b.expect("eds+a") // although the one before is not acknowledged
	}
}

func TestRejection(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "a"), vhost("80/b@1", "p")}
	b.s.wantAll(w)
	b.expect("vhds+80/a,80/b")
	e := b.nack(hosts, "Invalid virtual host: '80/a': no such thing")
	if len(e.refused) != 1 || e.refused[0].res.Name != "80/a" {
		t.Fatalf("refused %v, want 80/a", e.refused)
	}
	b.expect("vhds+80/b") // the innocent one goes again, the guilty one does not
	b.ack(hosts)
	b.expect("")
	b.s.wantAll(clone(w))
	b.expect("") // still the same version
	if got := b.s.ch[hosts].acked.at("80/a").version; got != "1" {
		t.Errorf("last good version %q, want 1", got)
	}
	if got := b.s.typeState(b.s.ch[hosts]); got.State != StateError || got.Error == "" {
		t.Errorf("state %+v", got)
	}
	w = clone(w)
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@3", "a"), vhost("80/b@1", "p")}
	b.s.wantAll(w)
	b.expect("vhds+80/a")
	b.ack(hosts)
	if !b.s.acknowledged() {
		t.Error("not acknowledged after the mistake was mended")
	}
}

func TestRouteOfRejectedClusterStaysHeld(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.Clusters = append(w.Clusters, res("q@1"))
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "q")}
	b.s.wantAll(w)
	b.expect("cds+q")
	b.nack(clusters, "Error adding/updating cluster(s) q: bad")
	b.expect("")
	b.now = b.now.Add(time.Hour)
	b.expect("")
	w = clone(w)
	w.Clusters = []*xdsgen.Resource{res("a@1"), res("p@1"), res("q@2")}
	b.s.wantAll(w)
	b.expect("cds+q")
	b.ack(clusters)
	b.expect("vhds+80/a")
}

func TestStaleNonces(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	old := b.out[hosts].nonce
	w := clone(shop())
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "a")}
	b.s.wantAll(w)
	b.expect("vhds+80/a")
	for _, q := range []*discoveryv3.DeltaDiscoveryRequest{
		{TypeUrl: hosts.url(), ResponseNonce: old},
		{TypeUrl: hosts.url(), ResponseNonce: "nonsense", ErrorDetail: &status.Status{Message: "x"}},
	} {
		if e := b.s.onDelta(q); e.acked || e.rejected {
			t.Errorf("nonce %s was taken", q.ResponseNonce)
		}
	}
	if b.s.acknowledged() {
		t.Error("acknowledged by a stale nonce")
	}
}

func TestReconnectPushesNothing(t *testing.T) {
	b := newBench(t, true, shop())
	b.resume(clusters, map[string]string{"a": "1", "p": "1"})
	b.resume(endpoints, map[string]string{"a": "1"}, "a")
	b.resume(listeners, map[string]string{"l": "1"})
	b.resume(hosts, map[string]string{"80/a": "1"})
	b.expect("")
	b.resume(routes, map[string]string{"80": "1"}, "80")
	b.expect("")
	if !b.s.acknowledged() {
		t.Error("a proxy that brought everything along is not acknowledged")
	}
}

func TestReconnectBeforeAWorld(t *testing.T) {
	b := newBench(t, true, nil)
	b.resume(clusters, map[string]string{"a": "1", "p": "1"})
	b.resume(listeners, map[string]string{"l": "1"})
	b.expect("")
	b.s.wantAll(shop())
	b.expect("")
}

func TestReconnectKeepsClustersOfUnknownRoutes(t *testing.T) {
	b := newBench(t, true, shop())
	b.resume(clusters, map[string]string{"a": "1", "p": "1", "old": "1"}, "*")
	b.resume(endpoints, map[string]string{"a": "1"}, "a")
	b.resume(listeners, map[string]string{"l": "1"})
	b.resume(routes, map[string]string{"80": "1"}, "80")
	b.resume(hosts, map[string]string{"80/a": "0"})
	b.expect("vhds+80/a") // what the old one named is not known: it may be cluster old
	b.now = b.now.Add(time.Minute)
	b.expect("")
	b.ack(hosts)
	b.expect("")
	b.now = b.now.Add(2 * time.Second)
	b.expect("cds-old")
}

func TestSilentProxyDoesNotBlock(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.Clusters = append(w.Clusters, res("q@1"))
	w.VirtualHosts = []*xdsgen.Resource{vhost("80/a@2", "q")}
	b.s.wantAll(w)
	b.expect("cds+q")
	b.now = b.now.Add(9 * time.Second)
	b.expect("")
	if at, ok := b.s.deadline(); !ok || at.Sub(b.now) != time.Second {
		t.Errorf("deadline %v %v, want 1s", at.Sub(b.now), ok)
	}
	b.now = b.now.Add(time.Second)
	b.expect("vhds+80/a")
	if b.s.acknowledged() {
		t.Error("acknowledged without a word from the proxy")
	}
	b.ack(clusters, hosts) // late
	if !b.s.acknowledged() {
		t.Error("late acknowledgements do not count")
	}
}

func TestLateRejection(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.Clusters = []*xdsgen.Resource{res("a@2"), res("p@1")}
	b.s.wantAll(w)
	b.expect("cds+a eds+a")
	b.ack(endpoints)
	b.now = b.now.Add(10 * time.Second)
	b.expect("")
	b.nack(clusters, "cluster a is bad")
	b.expect("")
	if got := b.s.ch[clusters].acked.at("a").version; got != "1" {
		t.Errorf("last good version %q, want 1", got)
	}
}

func TestEndpointsNeverAskedFor(t *testing.T) {
	b := newBench(t, true, shop())
	b.subscribe(clusters)
	b.expect("cds+a,p")
	b.ack(clusters)
	b.subscribe(routes, "80")
	b.subscribe(hosts)
	b.expect("rds+80")
	b.ack(routes)
	b.expect("")
	b.now = b.now.Add(10 * time.Second)
	b.expect("vhds+80/a")
	if !b.s.ch[hosts].released["80/a"] {
		t.Error("no note of a virtual host sent out of order")
	}
}

func TestNames(t *testing.T) {
	b := newBench(t, true, shop())
	b.subscribe(endpoints, "a", "none")
	b.expect("eds+a-none")
	b.ack(endpoints)
	b.expect("")
	b.subscribe(endpoints, "a", "none") // asked for again: said again
	b.expect("eds+a-none")
	b.ack(endpoints)
	w := clone(shop())
	w.Endpoints = []*xdsgen.Resource{res("a@1"), res("none@1")}
	b.s.wantAll(w)
	b.expect("eds+none")
	b.ack(endpoints)
	b.unsubscribe(endpoints, "none")
	b.s.wantAll(shop())
	b.expect("")
}

func TestWildcards(t *testing.T) {
	b := newBench(t, true, shop())
	b.subscribe(clusters, "p")
	b.expect("cds+p")
	b.ack(clusters)
	b.subscribe(clusters, "*")
	b.expect("cds+a")
	b.ack(clusters)
	b.unsubscribe(clusters, "p") // still of interest under the wildcard
	b.expect("cds+p")
	b.ack(clusters)
	b.unsubscribe(clusters, "*")
	w := clone(shop())
	w.Clusters = []*xdsgen.Resource{res("a@2"), res("p@2")}
	b.s.wantAll(w)
	b.expect("")
}

func TestAnswersEvenIfEmpty(t *testing.T) {
	b := newBench(t, true, &xdsgen.Resources{})
	b.subscribe(clusters)
	b.subscribe(listeners)
	b.expect("cds+ lds+")
	b.ack(clusters, listeners)
	b.expect("")
}

func TestTableAskedForAgainGetsItsHosts(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	b.unsubscribe(routes, "80")
	b.expect("")
	b.subscribe(routes, "80")
	b.expect("rds+80")
	b.ack(routes)
	b.expect("vhds+80/a")
	b.ack(hosts)
	b.subscribe(routes, "80") // dropped and asked for between two requests
	b.expect("rds+80")
	b.ack(routes)
	b.expect("vhds+80/a")
}

func TestHostsOfADrainingTableStay(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	w := clone(shop())
	w.Listeners, w.Routes, w.VirtualHosts = nil, nil, nil
	b.s.wantAll(w)
	b.expect("lds-l")
	b.ack(listeners)
	b.expect("rds-80")
	b.ack(routes)
	b.expect("")
	b.unsubscribe(routes, "80")
	if !b.s.ch[hosts].sent.empty() {
		t.Error("hosts of a dropped table are remembered")
	}
}

func TestWindow(t *testing.T) {
	b := newBench(t, true, shop())
	b.start()
	for v := 2; v <= 8; v++ {
		w := clone(shop())
		w.VirtualHosts = []*xdsgen.Resource{vhost(fmt.Sprintf("80/a@%d", v), "a")}
		b.s.wantAll(w)
		sent := b.step() != ""
		if want := v-1 <= deltaWindow; sent != want {
			t.Fatalf("version %d sent: %v, want %v", v, sent, want)
		}
	}
	b.s.ack(b.s.ch[hosts], b.s.ch[hosts].flight[0].nonce)
	b.expect("vhds+80/a")
	if got := b.out[hosts].set[0].Version; got != "8" {
		t.Errorf("version %s was sent, want the newest, 8", got)
	}
}

func TestBlame(t *testing.T) {
	set := []*xdsgen.Resource{res("80"), res("8080"), vhost("80/b.default.svc.cluster.local:80", "outbound|80||b"), res("0.0.0.0_80", "outbound|80||c")}
	file := res("file")
	file.Body = &anypb.Any{Value: []byte("..../etc/none.pem...")}
	set = append(set, file)
	for _, x := range []struct{ text, want string }{
		{"route 8080: duplicate", "8080"},
		{"Error adding/updating listener(s) 0.0.0.0_80: cannot bind", "0.0.0.0_80"},
		{"Only unique names: b.default.svc.cluster.local:80.", "80/b.default.svc.cluster.local:80"},
		{"route: unknown cluster 'outbound|80||c'", "0.0.0.0_80"},
		{"Invalid path: /etc/none.pem", "file"},
		{"something else", "0.0.0.0_80,80,80/b.default.svc.cluster.local:80,8080,file"},
	} {
		var got []string
		for name := range blame(set, x.text) {
			got = append(got, name)
		}
		slices.Sort(got)
		if strings.Join(got, ",") != x.want {
			t.Errorf("%q: blamed %v, want %s", x.text, got, x.want)
		}
	}
}
