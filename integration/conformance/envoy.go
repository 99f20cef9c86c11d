package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

// obj and list write Envoy's configuration, which is JSON.
type (
	obj  = static.Obj
	list = static.List
)

// dialect is a way to tell Envoy what a case wants: with one of Mizzen's hosts, or with native filters.
type dialect interface {
	name() string
	// refuses says why a case cannot be told; "" if it can.
	refuses(c *conformance.Case) string
	sees(a conformance.Aspect) bool
	// filters are the HTTP filters before the router, routes is the whole route table.
	filters(c *conformance.Case, id string) list
	routes(c *conformance.Case, id string) list
	// flags and annotations are what the access log tells in a line.
	flags(l logLine) []string
	annotations(l logLine) map[string]string
	// stat tells the name of a series among Envoy's stats: a regular expression.
	stat(id, series string) string
	// module is the dynamic module that Envoy loads, as in envoytest.Options.
	module(t testing.TB) string
}

// executor is an Envoy that has a listener for each case.
type executor struct {
	dialect
	envoy     *envoytest.Envoy
	upstreams *upstreams
	log       *accessLog
	ids       map[*conformance.Case]string
	addresses map[string]string // of listeners, by id
	clients   clients
}

// Name implements conformance.Executor.
func (e *executor) Name() string { return e.name() }

// Refuses implements conformance.Executor.
func (e *executor) Refuses(c *conformance.Case) string { return refuses(e.dialect, c) }

// Sees implements conformance.Executor.
func (e *executor) Sees(a conformance.Aspect) bool { return e.sees(a) }

// Parallel implements conformance.Executor.
func (e *executor) Parallel() (cases, requests int) { return 12, 12 }

func refuses(d dialect, c *conformance.Case) string {
	if reason := c.Not[d.name()]; reason != "" {
		return reason
	}
	if reason := byWallClock(c); reason != "" {
		return reason
	}
	return d.refuses(c)
}

// byWallClock says what no executor can do that runs by the wall clock and draws its own randomness.
func byWallClock(c *conformance.Case) string {
	switch {
	case c.NeedsClock():
		return "needs a clock that is moved by hand"
	case c.NeedsSeed():
		return "needs randomness from a seed"
	}
	return ""
}

// start runs an Envoy for all cases that d can tell.
func start(t testing.TB, d dialect, cases []*conformance.Case) *executor {
	t.Helper()
	envoytest.Find(t)
	e := &executor{dialect: d, upstreams: startUpstreams(t), ids: map[*conformance.Case]string{}, addresses: map[string]string{}}
	file := filepath.Join(t.TempDir(), "access.log")
	e.log = followLog(t, file)
	var listeners []static.Listener
	for i, c := range cases {
		if refuses(d, c) == "" {
			id := "c" + strconv.Itoa(i)
			e.ids[c] = id
			listeners = append(listeners, listener(d, c, id, file))
		}
	}
	e.envoy = envoytest.Start(t, envoytest.Options{Config: static.Bootstrap(e.upstreams.ports, listeners...), Module: d.module(t),
		Args: []string{"--file-flush-interval-msec", "10"}})
	e.readAddresses(t)
	return e
}

func listener(d dialect, c *conformance.Case, id, log string) static.Listener {
	return static.Listener{
		Name:      id,
		AccessLog: static.JSONLog(log, logFormat()),
		Filters:   d.filters(c, id),
		Routes:    d.routes(c, id),
		HCM:       obj{"generate_request_id": false, "preserve_external_request_id": true},
		Table:     obj{"request_headers_to_remove": list{"x-mizzen-route", "x-mizzen-cluster"}},
	}
}

// admin reads a page of Envoy's admin server.
func (e *executor) admin(path string) ([]byte, error) {
	resp, err := http.Get("http://" + e.envoy.Admin() + path)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy's admin: %w", err)
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// readAddresses finds the ports that the listeners got.
func (e *executor) readAddresses(t testing.TB) {
	t.Helper()
	var all struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	body, err := e.admin("/listeners?format=json")
	if err == nil {
		err = json.Unmarshal(body, &all)
	}
	if err != nil {
		t.Fatalf("read Envoy's listeners: %v", err)
	}
	for _, l := range all.Statuses {
		e.addresses[l.Name] = l.Address.Socket.Address + ":" + strconv.Itoa(l.Address.Socket.Port)
	}
}

// stats sums the stats whose name matches a regular expression.
func (e *executor) stats(expr string) (int64, error) {
	body, err := e.admin("/stats?filter=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	var sum int64
	for line := range strings.Lines(string(body)) {
		_, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			sum += n
		}
	}
	return sum, nil
}
