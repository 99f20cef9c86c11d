package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
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
			policies(Options{Paths: Paths{Module: dir}, Log: slog.New(slog.DiscardHandler)}, metadata)
			file, _ := metadata["MIZZEN_WASM"].(string)
			if metadata["MIZZEN_FILTERS"] != c.want || c.file == "" && file != "" || c.file != "" && file != filepath.Join(dir, c.file) {
				t.Errorf("%v, want %s and %q", metadata, c.want, c.file)
			}
		})
	}
}
