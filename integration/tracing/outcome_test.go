package tracing_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/spantest"
)

// TestOutcomes sends what ends in different ways, and looks at the span of each.
func TestOutcomes(t *testing.T) {
	box := newMailbox(t, nil)
	release := make(chan struct{})
	app := envoytest.NewUpstream(t, "app", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/grpc/Trailers":
			w.Header().Set("content-type", "application/grpc")
			w.Header().Set("trailer", "grpc-status")
			_, _ = w.Write([]byte{0, 0, 0, 0, 0})
			w.Header().Set("grpc-status", "14")
		case "/grpc/Only":
			w.Header().Set("content-type", "application/grpc")
			w.Header().Set("grpc-status", "5")
		case "/slow":
			<-release
		case "/404":
			w.WriteHeader(404)
		case "/500":
			w.WriteHeader(500)
		}
	})
	e := hop{service: "app", kind: "server", protocol: "zipkin", to: app.Port, collector: box.Port, http2: true,
		config: `,"fault":{"rules":[{"name":"broken","match":[{"path":{"prefix":"/broken"}}],"abort":{"percentage":100,"httpStatus":503}}]}`}.start(t)
	span := func(path string) spantest.ZipkinSpan {
		var out spantest.ZipkinSpan
		envoytest.Await(t, 20*time.Second, "the span of "+path, func() bool {
			for _, s := range box.got() {
				if s.Tags["url.path"] == path {
					out = s
					return true
				}
			}
			return false
		})
		return out
	}
	for _, c := range []struct{ path, status, grpc, errorType, error string }{
		{"/404", "404", "", "", ""},
		{"/500", "500", "", "500", "via_upstream"},
		{"/broken", "503", "", "503", "mizzen_fault_abort"},
		{"/grpc/Trailers", "200", "14", "14", "via_upstream"},
		{"/grpc/Only", "200", "5", "", ""},
	} {
		t.Run(c.path, func(t *testing.T) {
			if c.grpc != "" {
				e.DoHTTP2(t, envoytest.NewRequest(t, http.MethodPost, "http://"+e.Addr(10000)+c.path, "", "content-type: application/grpc", "te: trailers"))
			} else {
				e.Get(t, 10000, c.path)
			}
			s := span(c.path)
			if s.Tags["http.response.status_code"] != c.status || s.Tags["rpc.grpc.status_code"] != c.grpc || s.Tags["error.type"] != c.errorType || s.Tags["error"] != c.error {
				t.Errorf("tags %v", s.Tags)
			}
		})
	}
	t.Run("client gone", func(t *testing.T) {
		defer close(release)
		client := &http.Client{Timeout: 300 * time.Millisecond}
		if _, err := client.Get("http://" + e.Addr(10000) + "/slow"); err == nil {
			t.Fatal("answered")
		}
		if s := span("/slow"); s.Tags["error.type"] != "no_response" || s.Duration < 200_000 {
			t.Errorf("span %+v", s)
		}
	})
}
