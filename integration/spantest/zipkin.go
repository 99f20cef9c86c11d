// Package spantest runs the collectors of spans that tests send to: a real Zipkin and a real OpenTelemetry Collector.
package spantest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

// Zipkin is a real one.
type Zipkin struct {
	*proctest.Process
	Port int // HTTP, on 127.0.0.1
}

// ZipkinSpan is a span as Zipkin's API tells it. Times are microseconds.
type ZipkinSpan struct {
	TraceID, ID, ParentID, Kind, Name string
	Timestamp, Duration               int64
	LocalEndpoint, RemoteEndpoint     struct {
		ServiceName, IPv4 string
		Port              int
	}
	Tags map[string]string
}

// StartZipkin starts Zipkin (scripts/zipkin install) on a free port. It ends with the test.
func StartZipkin(t *testing.T) *Zipkin {
	t.Helper()
	jars, _ := filepath.Glob(filepath.Join(envoytest.Root(), ".cache", "zipkin", "*", "zipkin-server-*-exec.jar"))
	java, err := exec.LookPath("java")
	switch {
	case err != nil:
		envoytest.Missing(t, fmt.Errorf("find Java for Zipkin: %w", err))
	case len(jars) == 0:
		envoytest.Missing(t, errors.New("no Zipkin: run scripts/zipkin install"))
	}
	z := &Zipkin{Port: envoytest.FreePort(t)}
	z.Process = proctest.Start(t, "Zipkin", exec.Command(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", jars[len(jars)-1],
		fmt.Sprintf("--armeria.ports[0].port=%d", z.Port), "--armeria.ports[0].ip=127.0.0.1", "--armeria.ports[0].protocols[0]=http",
		"--zipkin.self-tracing.enabled=false"))
	await(t, z.Process, "Zipkin is healthy", z.url("/health"), func(status int) bool { return status == http.StatusOK })
	return z
}

func (z *Zipkin) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", z.Port, path) }

// Spans are those of a trace that have come, by "KIND service"; nil: none yet.
func (z *Zipkin) Spans(t *testing.T, id string) map[string]ZipkinSpan {
	t.Helper()
	res, err := http.Get(z.url("/api/v2/trace/" + id))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var spans []ZipkinSpan
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&spans) != nil {
		return nil
	}
	out := map[string]ZipkinSpan{}
	for _, s := range spans {
		out[s.Kind+" "+s.LocalEndpoint.ServiceName] = s
	}
	return out
}

// await waits until a program answers with such a status, and fails the test if it has ended.
func await(t *testing.T, p *proctest.Process, what, url string, right func(status int) bool) {
	t.Helper()
	envoytest.Await(t, 3*time.Minute, what, func() bool {
		if !p.Running() {
			t.Fatalf("%s: it has ended", what)
		}
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		res.Body.Close()
		return right(res.StatusCode)
	})
}
