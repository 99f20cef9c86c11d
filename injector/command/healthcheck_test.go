package command

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	t.Setenv("http_proxy", gone.URL) // of the container: not for its own health
	tcp := func(s *httptest.Server) string { return strings.Replace(s.URL, "http:", "tcp:", 1) }
	for _, c := range []struct {
		url    string
		status int
	}{
		{s.URL + "/ready", 0}, {s.URL + "/", 1}, {gone.URL, 1}, {tcp(s), 0}, {tcp(gone), 1}, {"https://x", 2}, {"/ready", 2},
	} {
		if status, out, err := execute(context.Background(), Healthcheck(), c.url); status != c.status {
			t.Errorf("%s: status %d, want %d\n%s%s", c.url, status, c.status, out, err)
		}
	}
}
