package wasmtest

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Module is a compiled module. Compiling takes seconds, starting a VM milliseconds: compile once for all tests, in
// TestMain. A Module may be used by tests that run in parallel; each VM by one of them.
type Module struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	cache    wazero.CompilationCache
}

// Compiler says how modules are compiled. The zero value is ready.
type Compiler struct {
	// CacheDir, unless empty, keeps the machine code for the next run of the tests.
	CacheDir string
	// Interpreter runs the module without compiling it to machine code: it loads in a fraction of the time, and runs
	// many times slower.
	Interpreter bool
}

// Load compiles the module in a file with the zero Compiler.
func Load(file string) (*Module, error) { return Compiler{}.Load(file) }

// Load compiles the module in a file.
func (c Compiler) Load(file string) (*Module, error) {
	code, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	return c.Compile(code)
}

// Compile compiles a module in memory.
func (c Compiler) Compile(code []byte) (_ *Module, err error) {
	ctx := context.Background()
	m := &Module{}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	config := wazero.NewRuntimeConfig()
	if c.Interpreter {
		config = wazero.NewRuntimeConfigInterpreter()
	}
	if c.CacheDir != "" && !c.Interpreter {
		if m.cache, err = wazero.NewCompilationCacheWithDir(c.CacheDir); err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules: %w", err)
		}
		config = config.WithCompilationCache(m.cache)
	}
	m.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return nil, fmt.Errorf("offer WASI: %w", err)
	}
	env := m.runtime.NewHostModuleBuilder("env")
	for _, f := range abi() {
		env.NewFunctionBuilder().WithGoModuleFunction(f.adapt(), f.params, []api.ValueType{api.ValueTypeI32}).Export(f.name)
	}
	if _, err = env.Instantiate(ctx); err != nil {
		return nil, fmt.Errorf("offer the proxy-wasm ABI: %w", err)
	}
	if m.compiled, err = m.runtime.CompileModule(ctx, code); err != nil {
		return nil, fmt.Errorf("compile the module: %w", err)
	}
	return m, nil
}

// Close frees the module and every VM that still runs.
func (m *Module) Close() {
	ctx := context.Background()
	if m.runtime != nil {
		_ = m.runtime.Close(ctx) // nothing can be done about it, and nothing depends on it
	}
	if m.cache != nil {
		_ = m.cache.Close(ctx)
	}
}

// Imports lists the functions that the module asks of its host, as "module.name", sorted.
func (m *Module) Imports() []string {
	var out []string
	for _, f := range m.compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		out = append(out, module+"."+name)
	}
	slices.Sort(out)
	return out
}

// Missing lists those of Imports that Envoy does not offer: a module that asks for one of them does not load.
func (m *Module) Missing() []string {
	offered := envoyImports()
	return slices.DeleteFunc(m.Imports(), func(name string) bool { return slices.Contains(offered, name) })
}

// envoyImports is what Envoy 1.39 links: proxy-wasm's ABI 0.2.1 and its part of WASI.
func envoyImports() []string {
	var out []string
	for _, f := range abi() {
		out = append(out, "env."+f.name)
	}
	for _, name := range []string{
		"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close",
		"fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_read", "fd_seek",
		"fd_write", "path_open", "poll_oneoff", "proc_exit", "random_get", "sched_yield",
	} {
		out = append(out, "wasi_snapshot_preview1."+name)
	}
	return out
}
