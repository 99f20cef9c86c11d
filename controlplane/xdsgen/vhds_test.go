package xdsgen

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func directHost(name string, status uint32, domains ...string) *mesh.VirtualHost {
	return &mesh.VirtualHost{Name: name, Domains: domains, Routes: []*mesh.BoundRoute{
		{Name: name, Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: status}}},
	}}
}

// vhdsView is a gateway with these virtual hosts.
func vhdsView(port int, hosts ...*mesh.VirtualHost) *mesh.View {
	return &mesh.View{
		Node:      mesh.Node{ID: "router~127.0.0.1~gw.default~default.svc.cluster.local", Gateway: true},
		Tables:    []*mesh.RouteTable{{Name: "http.80", Gateway: true, VirtualHosts: hosts}},
		Listeners: []*mesh.Listener{{Name: "gw", Kind: mesh.ListenGateway, Address: "127.0.0.1", Port: uint32(port), Table: "http.80"}},
	}
}

// ask is the status of a request to host, 0 if nothing listens.
func ask(port int, host string) int {
	q, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return 0
	}
	q.Host = host
	a, err := (&http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
	if err != nil {
		return 0
	}
	defer a.Body.Close()
	_, _ = io.Copy(io.Discard, a.Body)
	return a.StatusCode
}

func answers(t *testing.T, port int, host string, status int) {
	t.Helper()
	envoytest.Await(t, 10*time.Second, fmt.Sprintf("%s to answer %d", host, status), func() bool { return ask(port, host) == status })
}

// TestListenerWaitsForVirtualHosts shows what the server's ordering relies on: a listener whose table has vhds opens
// with the table's first virtual hosts and not before, nor with an empty answer.
func TestListenerWaitsForVirtualHosts(t *testing.T) {
	envoytest.Find(t)
	port := envoytest.FreePort(t)
	v := vhdsView(port, directHost("a:80", 200, "a"), directHost("any:80", 201, "*"))
	f := newFakeADS(t, build(t, v))
	f.held[TypeVirtualHost] = true
	started := make(chan error, 1)
	go func() {
		_, err := envoytest.TryStart(t, envoytest.Options{Config: bootConfig(t, f, v.Node.ID), Module: "-"})
		started <- err
	}()
	envoytest.Await(t, 20*time.Second, "Envoy to ask for virtual hosts", func() bool { return f.requests(TypeVirtualHost) > 0 })
	f.send(TypeVirtualHost, nil)
	envoytest.Await(t, 10*time.Second, "the empty answer to be taken", func() bool { return f.answered(TypeVirtualHost) > 0 })
	for range 10 {
		if got := ask(port, "a"); got != 0 {
			t.Fatalf("the listener answers %d before its virtual hosts came", got)
		}
	}
	f.send(TypeVirtualHost, f.first[TypeVirtualHost])
	answers(t, port, "a", 200)
	answers(t, port, "other", 201)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if n := f.refusals(); len(n) > 0 {
		t.Error("refused:", n)
	}
}

// TestTableEmptiesAndFills: the last virtual host goes, and with it in the end the listener; both come back. Envoy 1.39.3 ends with a
// segmentation fault on the way if the table lost its vhds meanwhile: it forgets the subscription without ending it, so what comes
// when the table's listeners are gone is written to memory that was freed with them.
func TestTableEmptiesAndFills(t *testing.T) {
	envoytest.Find(t)
	port := envoytest.FreePort(t)
	full, empty := build(t, vhdsView(port, directHost("a:80", 200, "a"))), build(t, vhdsView(port))
	f := newFakeADS(t, full)
	e := startWith(t, f, vhdsView(port).Node.ID)
	answers(t, port, "a", 200)
	f.turn(full, empty)
	answers(t, port, "a", 404)
	f.turn(empty, full)
	answers(t, port, "a", 200)
	changed := build(t, vhdsView(port, directHost("a:80", 202, "a")))
	f.turn(full, changed)
	answers(t, port, "a", 202)
	f.turn(changed, empty)
	answers(t, port, "a", 404)
	f.send(TypeListener, nil, "gw")
	envoytest.Await(t, 20*time.Second, "the listener to be gone", func() bool {
		n := e.Stats(t, `^listener_manager\.total_listeners_(active|draining)$`)
		return n["listener_manager.total_listeners_active"]+n["listener_manager.total_listeners_draining"] == 0
	})
	asked := f.requests(TypeRoute)
	f.send(TypeListener, full.Listeners)
	envoytest.Await(t, 10*time.Second, "the table to be asked for again", func() bool { return f.requests(TypeRoute) > asked })
	f.turn(empty, full)
	answers(t, port, "a", 200)
	if log := e.Log(); log != "" {
		t.Errorf("Envoy complains:\n%s", log)
	}
	if n := f.refusals(); len(n) > 0 {
		t.Error("refused:", n)
	}
}

// turn pushes what makes the routes of one set of resources those of another.
func (f *fakeADS) turn(from, to *Resources) {
	f.send(TypeRoute, to.Routes)
	var gone []string
	for _, r := range from.VirtualHosts {
		if !slices.ContainsFunc(to.VirtualHosts, func(o *Resource) bool { return o.Name == r.Name }) {
			gone = append(gone, r.Name)
		}
	}
	f.send(TypeVirtualHost, to.VirtualHosts, gone...)
}
