package standalone

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

// TestFaultReset: no answer, over HTTP/1 and HTTP/2; other requests of the same HTTP/2 connection go on, and the access log tells.
func TestFaultReset(t *testing.T) {
	envoytest.Find(t)
	up := envoytest.NewUpstream(t, "up")
	config := `{"fault":{"rules":[{"name":"cut","match":[{"path":{"exact":"/cut"}}],"abort":{"percentage":100,"reset":true}},` +
		`{"name":"late","match":[{"path":{"exact":"/late"}}],"abort":{"percentage":100,"reset":true,"afterResponse":true}}]}}`
	e := envoytest.Start(t, envoytest.Options{Config: static.Bootstrap(map[string]int{"up": up.Port}, static.Listener{
		Name: "test", Port: ingress, Filters: static.List{static.ModuleFilter("mizzen", "mizzen", "mizzen", config)},
		Routes:    static.List{static.Route("all", "/", "up", nil)},
		AccessLog: static.TextLog("LOG %REQ(:PATH)% %PROTOCOL% %DYNAMIC_METADATA(mizzen:fault)% %CUSTOM_FLAGS%"),
	})})
	for name, h2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var p http.Protocols
			p.SetHTTP1(!h2)
			p.SetUnencryptedHTTP2(h2)
			transport := &http.Transport{Protocols: &p}
			defer transport.CloseIdleConnections()
			do := func(path string) (int, error) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.Addr(ingress)+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				res, err := transport.RoundTrip(req)
				if err != nil {
					return 0, err
				}
				defer res.Body.Close()
				return res.StatusCode, nil
			}
			for _, path := range []string{"/cut", "/late", "/cut"} {
				if n, err := do(path); err == nil || errors.Is(err, context.DeadlineExceeded) || !h2 && !errors.Is(err, io.EOF) ||
					h2 && !strings.Contains(err.Error(), "stream error") {
					t.Errorf("%s: status %d, %v", path, n, err)
				}
				if n, err := do("/else"); n != 200 || err != nil {
					t.Errorf("/else: status %d, %v", n, err)
				}
			}
		})
	}
	if n := up.Requests(); n != 8 {
		t.Errorf("the upstream got %d requests, want 8: 3 and 1 of each protocol", n)
	}
	envoytest.Await(t, 20*time.Second, "the access log", func() bool { return strings.Count(e.Log(), "LOG ") == 12 })
	for _, line := range strings.Split(e.Log(), "\n") {
		if strings.HasPrefix(line, "LOG ") && !strings.Contains(line, "/else") && (!strings.Contains(line, "abort reset") || !strings.Contains(line, "FI")) {
			t.Errorf("access log: %s", line)
		}
	}
	envoytest.Await(t, 20*time.Second, "the counters", func() bool { return sum(e.Stats(t, "fault_aborts_total")) == 6 })
	if n := sum(e.Stats(t, "fault_active")); n != 0 {
		t.Errorf("%d faults are in progress", n)
	}
}
