package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// A proxy runs the policies by the module that is there, unless it is told.
func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		name, asked string
		there       []string
		want, file  string
	}{
		{name: "nothing", want: "native"},
		{name: "the dynamic module", there: []string{DynamicModule}, want: "dynamic-module"},
		{name: "wasm", there: []string{WasmModule}, want: "wasm", file: WasmModule},
		{name: "both", there: []string{DynamicModule, WasmModule}, want: "dynamic-module"},
		{name: "asked for wasm", asked: "wasm", there: []string{DynamicModule, WasmModule}, want: "wasm", file: WasmModule},
		{name: "asked for native", asked: "native", there: []string{DynamicModule}, want: "native"},
		{name: "asked for what is not there", asked: "dynamic-module", there: []string{WasmModule}, want: "native"},
		{name: "asked for wasm, which is not there", asked: "wasm", there: []string{DynamicModule}, want: "native"},
		{name: "asked for golang, which is not there", asked: "golang", there: []string{DynamicModule}, want: "native"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range c.there {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			metadata := map[string]any{}
			if c.asked != "" {
				metadata["MIZZEN_FILTERS"] = c.asked
			}
			new(settings).policies(Options{Paths: Paths{Module: dir}, Log: slog.New(slog.DiscardHandler)}, metadata)
			file, _ := metadata["MIZZEN_WASM"].(string)
			if metadata["MIZZEN_FILTERS"] != c.want || c.file == "" && file != "" || c.file != "" && file != filepath.Join(dir, c.file) {
				t.Errorf("%v, want %s and %q", metadata, c.want, c.file)
			}
		})
	}
}

// A proxy takes the module that has taken its own's place, once that is sure; a folder that is empty for a while, or goes to and fro, is none.
func TestReplaced(t *testing.T) {
	for _, c := range []struct {
		name    string
		started mesh.FilterHost
		steps   [][]string // what is there, each too short a time but the last
		want    mesh.FilterHost
	}{
		{name: "the same", started: "wasm", steps: [][]string{{WasmModule}}},
		{name: "another", started: "dynamic-module", steps: [][]string{{DynamicModule}, {WasmModule}}, want: "wasm"},
		{name: "the first of two", started: "wasm", steps: [][]string{{DynamicModule, WasmModule}}, want: "dynamic-module"},
		{name: "the second of two", started: "dynamic-module", steps: [][]string{{DynamicModule, WasmModule}}},
		{name: "none", started: "dynamic-module", steps: [][]string{{}, {}}},
		{name: "none, then another", started: "dynamic-module", steps: [][]string{{}, {GolangLibrary}}, want: "golang"},
		{name: "another, and back", started: "wasm", steps: [][]string{{DynamicModule}, {WasmModule}, {DynamicModule}, {WasmModule}}},
		{name: "another, and then a third", started: "wasm", steps: [][]string{{DynamicModule}, {GolangLibrary}}, want: "golang"},
		{name: "at last there is one", started: mesh.HostNative, steps: [][]string{{}, {DynamicModule}}, want: "dynamic-module"},
		{name: "the metadata says it", started: "", steps: [][]string{{WasmModule}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			paths := Paths{Module: t.TempDir()}
			ctx, cancel := context.WithCancel(t.Context())
			look, done := make(chan time.Time), make(chan mesh.FilterHost, 1)
			lay := func(files []string) {
				for _, f := range []string{DynamicModule, WasmModule, GolangLibrary} {
					_ = os.Remove(filepath.Join(paths.Module, f))
				}
				for _, f := range files {
					if err := os.WriteFile(filepath.Join(paths.Module, f), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			lay(c.steps[0])
			go func() {
				by, _ := (&settings{module: c.started}).replaced(ctx, paths, look)
				done <- by
			}()
			got, ended := mesh.FilterHost(""), false
			for i, files := range c.steps {
				n := looksSteady - 2 // the last of them may see the next step
				if i == len(c.steps)-1 {
					n = 2 * looksSteady
				}
				lay(files)
				for range n {
					select {
					case look <- time.Time{}:
					case got = <-done:
						ended = true
					}
					if ended && i < len(c.steps)-1 {
						t.Fatalf("%q already after step %d", got, i)
					}
					if ended {
						break
					}
				}
			}
			cancel()
			if !ended {
				got = <-done
			}
			if got != c.want {
				t.Errorf("replaced by %q, want %q", got, c.want)
			}
		})
	}
}
