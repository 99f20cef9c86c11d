package server

import (
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// request sends a state-of-the-world request with the last nonce of its kind.
func (b *bench) request(k kind, version, errText string, names ...string) event {
	q := &discoveryv3.DiscoveryRequest{TypeUrl: k.url(), ResourceNames: names, VersionInfo: version}
	if r := b.out[k]; r != nil {
		q.ResponseNonce = r.nonce
	}
	if errText != "" {
		q.ErrorDetail = &status.Status{Message: errText}
	}
	return b.s.onState(q)
}

// accept acknowledges the last response of each kind.
func (b *bench) accept(k kind, names ...string) {
	b.t.Helper()
	if !b.request(k, b.out[k].version, "", names...).acked {
		b.t.Fatalf("ack of %s was stale", k.short())
	}
}

func (b *bench) startState() {
	b.t.Helper()
	b.request(clusters, "", "")
	b.expect("cds+a,p")
	b.request(endpoints, "", "", "a")
	b.expect("eds+a")
	b.accept(endpoints, "a")
	b.accept(clusters)
	b.request(listeners, "", "")
	b.expect("lds+l")
	b.accept(listeners)
	b.request(routes, "", "", "80")
	b.expect("rds+80")
	b.accept(routes, "80")
	b.expect("")
	if !b.s.acknowledged() {
		b.t.Fatal("not acknowledged after everything was")
	}
}

func TestStateStart(t *testing.T) { newBench(t, false, shop()).startState() }

func TestStateListsCarryEverything(t *testing.T) {
	b := newBench(t, false, shop())
	b.startState()
	w := clone(shop())
	w.Clusters = append(w.Clusters, res("q@1"))
	w.InlineRoutes = []*xdsgen.Resource{res("80@2", "a", "q")}
	b.s.wantAll(w)
	b.expect("cds+q")
	if got := join(b.out[clusters].body); got != "a,p,q" {
		t.Errorf("list of clusters %s, want all three", got)
	}
	b.accept(clusters)
	b.expect("rds+80")
	b.accept(routes, "80")
	b.s.wantAll(shop())
	b.expect("rds+80")
	b.accept(routes, "80")
	b.expect("")
	b.now = b.now.Add(2 * time.Second)
	b.expect("cds-q")
	if got := join(b.out[clusters].body); got != "a,p" {
		t.Errorf("list of clusters %s, want a,p", got)
	}
}

func TestStateReconnect(t *testing.T) {
	a := newBench(t, false, shop())
	a.startState()
	b := newBench(t, false, shop())
	b.request(clusters, a.out[clusters].version, "")
	b.request(endpoints, a.out[endpoints].version, "", "a")
	b.request(listeners, a.out[listeners].version, "")
	b.request(routes, a.out[routes].version, "", "80")
	b.expect("")
	if !b.s.acknowledged() {
		t.Error("a proxy that brought everything along is not acknowledged")
	}
	w := clone(shop())
	w.InlineRoutes = []*xdsgen.Resource{res("80@2", "a")}
	b.s.wantAll(w)
	b.expect("rds+80")
}

func TestStateReconnectWithOldVersion(t *testing.T) {
	b := newBench(t, false, shop())
	b.request(clusters, "other", "")
	b.expect("cds+a,p")
}

func TestStateOneListAtATime(t *testing.T) {
	b := newBench(t, false, shop())
	b.startState()
	for _, v := range []string{"2", "3"} {
		w := clone(shop())
		w.Endpoints = []*xdsgen.Resource{res("a@" + v)}
		b.s.wantAll(w)
		if got := b.step(); v == "2" && got != "eds+a" || v == "3" && got != "" {
			t.Fatalf("version %s: sent %q", v, got)
		}
	}
	b.accept(endpoints, "a")
	b.expect("eds+a")
}

func TestStateRejection(t *testing.T) {
	b := newBench(t, false, shop())
	b.startState()
	w := clone(shop())
	w.Clusters = []*xdsgen.Resource{res("a@2"), res("p@2")}
	b.s.wantAll(w)
	if got := b.step(); !strings.HasPrefix(got, "cds+a,p") {
		t.Fatalf("sent %q", got)
	}
	good := b.s.ch[clusters].acked.at("a").version
	if e := b.request(clusters, "old", "Error adding/updating cluster(s) a: bad"); len(e.refused) != 1 {
		t.Fatalf("refused %v", e.refused)
	}
	b.accept(endpoints, "a")
	b.expect("cds+p")
	body := b.out[clusters].body
	if join(body) != "a,p" || body[0].Version != good || body[1].Version != "2" {
		t.Errorf("list %v: want the last good a and the new p", body)
	}
	b.accept(clusters)
	b.expect("")
}

func TestStateStaleNonce(t *testing.T) {
	b := newBench(t, false, shop())
	b.startState()
	old := *b.out[endpoints]
	w := clone(shop())
	w.Endpoints = []*xdsgen.Resource{res("a@2")}
	b.s.wantAll(w)
	b.expect("eds+a")
	q := &discoveryv3.DiscoveryRequest{TypeUrl: endpoints.url(), ResponseNonce: old.nonce, ResourceNames: []string{"other"}}
	if e := b.s.onState(q); e.acked || !b.s.ch[endpoints].wants("a") {
		t.Error("a request with a stale nonce was taken")
	}
}

func TestStateNames(t *testing.T) {
	b := newBench(t, false, shop())
	b.request(endpoints, "", "", "none")
	b.expect("eds-none")
	if len(b.out[endpoints].body) != 0 {
		t.Error("something was made up for a name that does not exist")
	}
	b.accept(endpoints, "none")
	b.request(endpoints, b.out[endpoints].version, "", "a", "none")
	b.expect("eds+a")
	b.accept(endpoints, "a", "none")
	b.request(endpoints, b.out[endpoints].version, "", "none")
	b.expect("")
	b.request(endpoints, b.out[endpoints].version, "", "a")
	b.expect("eds+a")
}

func TestStateSilent(t *testing.T) {
	b := newBench(t, false, shop())
	b.startState()
	w := clone(shop())
	w.Clusters = append(w.Clusters, res("q@1"))
	w.InlineRoutes = []*xdsgen.Resource{res("80@2", "q")}
	b.s.wantAll(w)
	b.expect("cds+q")
	b.now = b.now.Add(10 * time.Second)
	b.expect("rds+80")
	b.accept(routes, "80")
	b.accept(clusters)
	if !b.s.acknowledged() {
		t.Error("late acknowledgements do not count")
	}
}
