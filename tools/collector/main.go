// Collector is an OpenTelemetry Collector made of its own Go modules, for tests: the OTLP receiver, and an exporter that
// appends what it got to a file as OTLP's JSON, a batch per line. It lives in a module of its own, for it needs much.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Description: "OpenTelemetry Collector for Mizzen's tests", Version: "1"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{DefaultScheme: "file", ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()}},
		},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func factories() (otelcol.Factories, error) {
	in, kind := otlpreceiver.NewFactory(), component.MustNewType("lines")
	out := exporter.NewFactory(kind, func() component.Config { return &config{} },
		exporter.WithTraces(newLines, component.StabilityLevelDevelopment))
	return otelcol.Factories{
		Receivers: map[component.Type]receiver.Factory{in.Type(): in},
		Exporters: map[component.Type]exporter.Factory{kind: out},
		Telemetry: otelconftelemetry.NewFactory(),
	}, nil
}

// config of the exporter "lines".
type config struct {
	Path string `mapstructure:"path"`
}

// lines appends traces to a file.
type lines struct {
	component.StartFunc
	component.ShutdownFunc
	path string
	mu   sync.Mutex
}

func newLines(_ context.Context, _ exporter.Settings, c component.Config) (exporter.Traces, error) {
	return &lines{path: c.(*config).Path}, nil
}

// Capabilities says that traces are not changed.
func (*lines) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeTraces writes a line.
func (l *lines) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	b, err := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	if err != nil {
		return fmt.Errorf("encode traces: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the file of traces: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write traces: %w", err)
	}
	return nil
}
