package server

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// page is one path of the monitoring port.
type page struct{ path, about string }

// pages lists the paths; /debug/list prints it.
func (s *Server) pages() []page {
	out := []page{
		{"/", "proxies, their state, and diagnostics, for reading"},
		{"/metrics", "metrics in Prometheus' format, named as Istio's"},
		{"/ready", "200 once configuration has been read"},
		{"/debug/syncz", "a list of proxies: proxy, id, synced, types"},
		{"/debug/adsz", "what each proxy asked for, was sent and acknowledged"},
		{"/debug/config_dump", "?proxyID=NAME.NAMESPACE: what one proxy acknowledged, as Envoy's /config_dump"},
		{"/debug/diagnostics", "what proxies rejected or left unanswered"},
		{"/debug/worldz", "what the current configuration holds"},
		{"/debug/pprof/", "profiles of this process, for go tool pprof"},
		{"/debug/list", "this list"},
	}
	if s.opt.Calls != nil {
		out = append(out, page{"/debug/graph", "who calls whom: rates, failures and TLS, as the callers' proxies count; ?format=svg draws it"})
	}
	return out
}

// Handler serves metrics, readiness, the debug pages and a page for reading. It holds no secrets but tells the whole
// configuration: bind it to loopback or protect it.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.counted(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /debug/syncz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Status()) })
	mux.HandleFunc("GET /debug/adsz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.subscriptions()) })
	mux.HandleFunc("GET /debug/config_dump", s.configDump)
	mux.HandleFunc("GET /debug/diagnostics", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, append(istio.Diagnostics{}, s.Diagnostics()...))
	})
	mux.HandleFunc("GET /debug/worldz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.summary()) })
	mux.HandleFunc("GET /debug/graph", s.calls)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/list", s.listPages)
	mux.HandleFunc("GET /{$}", s.front)
	return mux
}

// counted has what is in the world counted when somebody asks, rather than with every change of a small part of it.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if world, _, _ := s.current(); world != nil {
			s.metrics.world(world)
		}
		h.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(raw, '\n'))
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (s *Server) listPages(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, p := range s.pages() {
		_, _ = w.Write([]byte(p.path + "\t" + p.about + "\n"))
	}
}

// calls serves the graph of calls in one of its two forms.
func (s *Server) calls(w http.ResponseWriter, r *http.Request) {
	format, kind := "json", "application/json"
	if r.URL.Query().Get("format") == "svg" {
		format, kind = "svg", "image/svg+xml"
	}
	if s.opt.Calls == nil {
		http.Error(w, "this control plane cannot ask its proxies; mizzen graph --kubeconfig FILE can", http.StatusNotFound)
		return
	}
	raw, err := s.opt.Calls(r.Context(), format)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(raw)
}

// configDump answers for one proxy, named by node id or by "name.namespace".
func (s *Server) configDump(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("proxyID")
	for _, c := range s.connections() {
		if id == "" || !c.named(id) {
			continue
		}
		raw, err := c.dump()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(raw, '\n'))
		return
	}
	if id == "" {
		http.Error(w, "name a proxy: ?proxyID=NAME.NAMESPACE", http.StatusBadRequest)
		return
	}
	http.Error(w, "no connected proxy is named "+id, http.StatusNotFound)
}

// named tells whether a user's name for a proxy means this one.
func (c *conn) named(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return id == c.id || id == proxyName(c.node) || id == c.node.Name+"/"+c.node.Namespace ||
		!strings.ContainsAny(id, "./~") && id == c.node.Name
}

// Subscription is one type of one proxy at /debug/adsz.
type Subscription struct {
	Type     string              `json:"type"`
	Wildcard bool                `json:"wildcard,omitempty"`
	Names    []string            `json:"names,omitempty"`
	Acked    map[string]string   `json:"acked,omitempty"` // name -> version
	Pending  map[string]string   `json:"pending,omitempty"`
	Refused  map[string]string   `json:"refused,omitempty"` // name -> Envoy's message
	Origins  map[string][]string `json:"origins,omitempty"` // of what was refused
}

// Connection is one stream at /debug/adsz.
type Connection struct {
	Proxy         string         `json:"proxy"`
	ID            string         `json:"id"`
	Connected     time.Time      `json:"connected"`
	Subscriptions []Subscription `json:"subscriptions"`
}

func (s *Server) subscriptions() []Connection {
	out := []Connection{}
	for _, c := range s.connections() {
		out = append(out, c.subscriptions())
	}
	return out
}

func (c *conn) subscriptions() Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Connection{Proxy: proxyName(c.node), ID: c.id, Connected: c.since}
	for _, ch := range c.state.ch {
		if ch.open {
			out.Subscriptions = append(out.Subscriptions, ch.subscription())
		}
	}
	return out
}

func (c *channel) subscription() Subscription {
	out := Subscription{
		Type: c.kind.short(), Wildcard: c.wildcard, Acked: map[string]string{}, Pending: map[string]string{},
		Refused: map[string]string{}, Origins: map[string][]string{}, Names: []string{},
	}
	c.names.each(func(n string) { out.Names = append(out.Names, n) })
	slices.Sort(out.Names)
	c.acked.each(func(n string, h held) bool { out.Acked[n] = h.version; return true })
	c.sent.each(func(n string, h held) bool {
		if a, ok := c.acked.get(n); !ok || a.version != h.version {
			out.Pending[n] = h.version
		}
		return true
	})
	for n, r := range c.refused {
		out.Refused[n], out.Origins[n] = r.text, originsOf(r.res)
	}
	return out
}

// Summary is /debug/worldz.
type Summary struct {
	Generation uint64    `json:"generation"`
	Published  time.Time `json:"published,omitzero"`
	Services   []string  `json:"services"`
	Workloads  []string  `json:"workloads"`
	Rules      []string  `json:"virtualServices"`
	Policies   []string  `json:"destinationRules"`
	Gateways   []string  `json:"gateways"`
	Sidecars   []string  `json:"sidecars"`
	Limits     []string  `json:"rateLimits"`
	Endpoints  int       `json:"endpoints"`
}

func (s *Server) summary() Summary {
	w, generation, published := s.current()
	out := Summary{Generation: generation, Published: published}
	if w == nil {
		return out
	}
	for _, x := range w.Services {
		out.Services = append(out.Services, x.Hostname)
	}
	for _, x := range w.Workloads {
		out.Workloads = append(out.Workloads, x.Namespace+"/"+x.Name)
	}
	for _, x := range w.Rules {
		out.Rules = append(out.Rules, x.Namespace+"/"+x.Name)
	}
	for _, x := range w.Policies {
		out.Policies = append(out.Policies, x.Namespace+"/"+x.Hostname)
	}
	for _, x := range w.Gateways {
		out.Gateways = append(out.Gateways, x.Namespace+"/"+x.Name)
	}
	for _, x := range w.Sidecars {
		out.Sidecars = append(out.Sidecars, x.Namespace+"/"+x.Name)
	}
	for _, x := range w.Limits {
		out.Limits = append(out.Limits, x.Namespace+"/"+x.Name)
	}
	for _, es := range w.Endpoints {
		out.Endpoints += len(es)
	}
	return out
}
