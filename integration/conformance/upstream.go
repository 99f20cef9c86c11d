package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// idHeader names a request on its way, in the upstreams and in the access log.
const idHeader = "x-conformance-id"

// upstreams are the clusters of the corpus. They remember what reached them, by request id.
type upstreams struct {
	ports map[string]int // by cluster

	mu    sync.Mutex
	plans map[string]*plan
}

// plan is what an upstream does with one request, and what it saw of it.
type plan struct {
	answer conformance.Answer
	// arrived and release are nil if the request is not to be held.
	arrived, release chan struct{}

	cluster string
	headers map[string][]string
}

func startUpstreams(t testing.TB) *upstreams {
	t.Helper()
	u := &upstreams{ports: map[string]int{}, plans: map[string]*plan{}}
	for _, cluster := range conformance.Clusters() {
		handle := func(w http.ResponseWriter, r *http.Request) { u.serve(cluster, w, r) }
		u.ports[cluster] = envoytest.NewUpstream(t, cluster, handle).Port
	}
	return u
}

// expect registers a plan for a request.
func (u *upstreams) expect(id string, p *plan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.plans[id] = p
}

// seen takes what is known of a request: the cluster that got it, "" if none, and its headers there.
func (u *upstreams) seen(id string) (cluster string, headers map[string][]string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.plans[id]
	delete(u.plans, id)
	return p.cluster, p.headers
}

func (u *upstreams) serve(cluster string, w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	p := u.plans[r.Header.Get(idHeader)]
	if p != nil {
		p.cluster, p.headers = cluster, lower(r.Header)
	}
	u.mu.Unlock()
	if p == nil {
		http.Error(w, fmt.Sprintf("nobody expects request %q", r.Header.Get(idHeader)), http.StatusTeapot)
		return
	}
	if p.arrived != nil {
		close(p.arrived)
		select {
		case <-p.release:
		case <-r.Context().Done():
		}
	}
	for _, h := range p.answer.Headers {
		name, value, _ := strings.Cut(h, ":")
		w.Header().Add(name, strings.TrimSpace(value))
	}
	if p.answer.Status != 0 {
		w.WriteHeader(p.answer.Status)
	}
}

// lower gives header names as Envoy has them.
func lower(h http.Header) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		out[strings.ToLower(name)] = values
	}
	return out
}
