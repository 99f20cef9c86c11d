package standalone

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	service "github.com/mizzen-mesh/mizzen/controlplane/ratelimit"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// collector takes spans as Zipkin does, and counts them.
type collector struct {
	port string
	n    atomic.Int64
}

func (c *collector) spans() int { return int(c.n.Load()) }

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	u := envoytest.NewUpstream(t, "collector", func(w http.ResponseWriter, r *http.Request) {
		var spans []json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&spans); err != nil || r.URL.Path != "/api/v2/spans" {
			http.Error(w, "no spans", http.StatusBadRequest)
			return
		}
		c.n.Add(int64(len(spans)))
		w.WriteHeader(http.StatusAccepted)
	})
	c.port = strconv.Itoa(u.Port)
	return c
}

// limits is a running `mizzen ratelimit`.
type limits struct {
	grpc, pages string
	stop        func()
}

// newLimits starts the service with the RateLimit that an example's comment gives it. It ends with the test, or by
// stop.
func newLimits(t *testing.T, comment string) *limits {
	t.Helper()
	_, rest, _ := strings.Cut(comment, "<<'EOF'\n")
	yaml, _, ok := strings.Cut(rest, "  EOF")
	if !ok {
		t.Fatal("the comment holds no RateLimit")
	}
	file := filepath.Join(t.TempDir(), "limits.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &limits{}
	listening, done := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- service.Run(ctx, service.Options{
			Addr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
			Watch: func(ctx context.Context, publish func(istio.Set, istio.Diagnostics)) error {
				return dir.Watch(ctx, []string{file}, slog.New(slog.DiscardHandler), publish)
			},
			Listening: func(grpc, pages net.Addr) {
				l.grpc, l.pages = grpc.String(), pages.String()
				close(listening)
			},
		})
	}()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the rate-limit service ended: %v", err)
		}
	})
	t.Cleanup(l.stop)
	select {
	case <-listening:
	case err := <-done:
		done <- nil
		t.Fatalf("the rate-limit service did not start: %v", err)
	}
	envoytest.Await(t, 10*time.Second, "limits are read", func() bool { return l.get(t, "/ready") != "" })
	return l
}

// get is a page of the service, "" if its answer is not 200.
func (l *limits) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + l.pages + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(body) + "\n"
}

// metric is the value of a series of the service; "" if there is none.
func (l *limits) metric(t *testing.T, series string) string {
	t.Helper()
	for line := range strings.Lines(l.get(t, "/metrics")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "mizzen_ratelimit_"+series+" "); ok {
			return v
		}
	}
	return ""
}
