package compose

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Builds reach the world by these alone: the engine's network has no way out. The address is that of the engine's bridge (engine.sh).
const (
	proxyAddress = "172.31.254.1:3128"
	proxyURL     = "http://" + proxyAddress
	modulesURL   = proxyURL + "/modules"
)

// serveBuilds gives builds in the engine's network a way to Debian's packages, as an HTTP proxy, and this machine's Go modules, as a
// module proxy; and what it has compiled (command gocache).
func serveBuilds(t *testing.T, e *engine) {
	t.Helper()
	var l net.Listener
	if err := e.inside(func() (err error) { l, err = net.Listen("tcp", ":3128"); return err }); err != nil {
		t.Fatal(err)
	}
	modules := http.StripPrefix("/modules", http.FileServer(http.Dir(filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download"))))
	cached := newGoCache(goEnv(t, "GOCACHE"))
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "" || r.URL.Host == proxyAddress { // Go asks the proxy for what the proxy has itself
			if strings.HasPrefix(r.URL.Path, "/gocache/") {
				cached.ServeHTTP(w, r)
				return
			}
			modules.ServeHTTP(w, r)
			return
		}
		forward(w, r)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
}

// forward is an HTTP proxy's part, as far as apt needs it: a request with a whole URL.
func forward(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	res, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}
