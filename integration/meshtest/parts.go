package meshtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Envoy is the path of a real Envoy; without one the test is skipped, or fails if MIZZEN_REQUIRE is set.
func Envoy(t testing.TB) string { t.Helper(); return envoytest.Find(t) }

// Module is the path of the dynamic module, built if need be.
func Module(t testing.TB) string { t.Helper(); return envoytest.Module(t) }

var (
	buildOnce sync.Once
	built     string
	buildErr  error
)

// Binary is the path of `mizzen`: MIZZEN_BIN, or built once for this test process into the repository's build folder.
func Binary(t testing.TB) string {
	t.Helper()
	if b := os.Getenv("MIZZEN_BIN"); b != "" {
		return b
	}
	buildOnce.Do(func() {
		built = filepath.Join(envoytest.Root(), "build", "test", "mizzen")
		out, err := exec.Command("go", "build", "-o", built, "github.com/mizzen-mesh/mizzen/cmd/mizzen").CombinedOutput()
		if err != nil {
			buildErr = fmt.Errorf("build mizzen: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return built
}

// HTTP2 is a client that speaks HTTP/2 at once, without TLS, over the connections that dial makes.
func HTTP2(t testing.TB, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
		return dial(ctx, network, address)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func printf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
