package spantest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

// Collector is a real OpenTelemetry Collector that writes what it gets into a file.
type Collector struct {
	*proctest.Process
	HTTP, GRPC int // ports of OTLP, on 127.0.0.1
	file       string
}

// OTelSpan is a span as the collector decoded it.
type OTelSpan struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int // 2 server, 3 client
	StartTimeUnixNano, EndTimeUnixNano  string
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	Status struct {
		Code    int
		Message string
	}

	Service string // of the resource
}

// Attribute returns one as text, "" if there is none.
func (s OTelSpan) Attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// StartCollector starts a collector (make collector) on free ports. It ends with the test.
func StartCollector(t *testing.T) *Collector {
	t.Helper()
	c := &Collector{HTTP: envoytest.FreePort(t), GRPC: envoytest.FreePort(t), file: filepath.Join(t.TempDir(), "spans")}
	c.Run(t)
	return c
}

// Run starts it again after a kill.
func (c *Collector) Run(t *testing.T) {
	t.Helper()
	bin := filepath.Join(envoytest.Root(), ".cache", "collector", "collector")
	if _, err := os.Stat(bin); err != nil {
		envoytest.Missing(t, errors.New("no OpenTelemetry Collector: run make collector"))
	}
	config := c.file + ".yaml"
	text := fmt.Sprintf(`receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}, grpc: {endpoint: "127.0.0.1:%d"}}}}
exporters: {lines: {path: %q}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [lines]}}
`, c.HTTP, c.GRPC, c.file)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Process = proctest.Start(t, "the collector", exec.Command(bin, "--config", "file:"+config))
	await(t, c.Process, "the collector listens", fmt.Sprintf("http://127.0.0.1:%d/", c.HTTP), func(int) bool { return true })
}

// Spans are all spans that have come, by trace id.
func (c *Collector) Spans(t *testing.T) map[string][]OTelSpan {
	t.Helper()
	f, err := os.Open(c.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]OTelSpan{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var td struct {
			ResourceSpans []struct {
				Resource   OTelSpan // for its attributes
				ScopeSpans []struct{ Spans []OTelSpan }
			}
		}
		if json.Unmarshal(lines.Bytes(), &td) != nil {
			continue // it is being written
		}
		for _, r := range td.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				for _, s := range scope.Spans {
					s.Service = r.Resource.Attribute("service.name")
					out[s.TraceID] = append(out[s.TraceID], s)
				}
			}
		}
	}
	return out
}
