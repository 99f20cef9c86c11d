package tracing_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// process is a program that runs for a test.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a program, whose output goes to a file; it ends with the test.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() { // on a thread that lives as long as it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // killed
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.kill()
		out.Close()
		if t.Failed() {
			b, _ := os.ReadFile(file)
			t.Logf("%s said:\n%.4000s", filepath.Base(name), b)
		}
	})
	return p
}

// await waits until the program serves, and fails the test if it has ended.
func (p *process) await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	envoytest.Await(t, 2*time.Minute, what, func() bool {
		select {
		case <-p.done:
			t.Fatalf("%s: it has ended", what)
		default:
		}
		return ready()
	})
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// zipkinServer is a real Zipkin.
type zipkinServer struct {
	*process
	port int
}

// startZipkin starts Zipkin on a port; 0: a free one.
func startZipkin(t *testing.T, port int) *zipkinServer {
	t.Helper()
	jars, _ := filepath.Glob(filepath.Join(envoytest.Root(), ".cache", "zipkin", "*", "zipkin-server-*-exec.jar"))
	java, err := exec.LookPath("java")
	switch {
	case err != nil:
		envoytest.Missing(t, fmt.Errorf("find Java for Zipkin: %w", err))
	case len(jars) == 0:
		envoytest.Missing(t, errors.New("no Zipkin: run scripts/zipkin install"))
	}
	if port == 0 {
		port = envoytest.FreePort(t)
	}
	z := &zipkinServer{port: port, process: start(t, java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", jars[len(jars)-1],
		fmt.Sprintf("--armeria.ports[0].port=%d", port), "--armeria.ports[0].ip=127.0.0.1", "--armeria.ports[0].protocols[0]=http",
		"--zipkin.self-tracing.enabled=false")}
	z.await(t, "Zipkin is healthy", func() bool {
		resp, err := http.Get(z.url("/health"))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return z
}

func (z *zipkinServer) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", z.port, path)
}

// zipkinSpan is a span as Zipkin's API tells it.
type zipkinSpan struct {
	TraceID, ID, ParentID, Kind, Name string
	Timestamp, Duration               int64
	LocalEndpoint, RemoteEndpoint     struct {
		ServiceName, IPv4 string
		Port              int
	}
	Tags map[string]string
}

// trace awaits a trace with n spans, and returns them by kind and service.
func (z *zipkinServer) trace(t *testing.T, id string, n int) map[string]zipkinSpan {
	t.Helper()
	var spans []zipkinSpan
	envoytest.Await(t, 30*time.Second, fmt.Sprintf("%d spans of trace %s in Zipkin", n, id), func() bool {
		resp, err := http.Get(z.url("/api/v2/trace/" + id))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		spans = nil
		return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(&spans) == nil && len(spans) >= n
	})
	out := map[string]zipkinSpan{}
	for _, s := range spans {
		out[s.Kind+" "+s.LocalEndpoint.ServiceName] = s
	}
	if len(spans) != n || len(out) != n {
		t.Fatalf("got %+v, want %d spans", spans, n)
	}
	return out
}

// otelCollector is an OpenTelemetry Collector that writes what it gets into a file.
type otelCollector struct {
	*process
	port int
	file string
}

func startCollector(t *testing.T) *otelCollector {
	t.Helper()
	c := &otelCollector{port: envoytest.FreePort(t), file: filepath.Join(t.TempDir(), "spans")}
	c.run(t)
	return c
}

// run starts it, again after a kill.
func (c *otelCollector) run(t *testing.T) {
	t.Helper()
	bin := filepath.Join(envoytest.Root(), ".cache", "collector", "collector")
	if _, err := os.Stat(bin); err != nil {
		envoytest.Missing(t, errors.New("no OpenTelemetry Collector: run make collector"))
	}
	config := c.file + ".yaml"
	text := fmt.Sprintf(`receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}}}}
exporters: {lines: {path: %q}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [lines]}}
`, c.port, c.file)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.process = start(t, bin, "--config", "file:"+config)
	c.await(t, "the collector listens", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", c.port))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	})
}

// otelSpan is a span as the collector decoded it.
type otelSpan struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	StartTimeUnixNano, EndTimeUnixNano  string
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	Status struct {
		Code    int
		Message string
	}

	service string
}

func (s otelSpan) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// spans are all spans that have come, by trace id.
func (c *otelCollector) spans(t *testing.T) map[string][]otelSpan {
	t.Helper()
	f, err := os.Open(c.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]otelSpan{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var td struct {
			ResourceSpans []struct {
				Resource   otelSpan // for its attributes
				ScopeSpans []struct{ Spans []otelSpan }
			}
		}
		if json.Unmarshal(lines.Bytes(), &td) != nil {
			continue // it is being written
		}
		for _, r := range td.ResourceSpans {
			for _, s := range r.ScopeSpans[0].Spans {
				s.service = r.Resource.attribute("service.name")
				out[s.TraceID] = append(out[s.TraceID], s)
			}
		}
	}
	return out
}
