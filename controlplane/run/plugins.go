package run

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/module"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// plugins puts the modules that are there into the extensions of a World.
type plugins struct {
	store *module.Store
	// last are the extensions as they were when their modules were last there, by kind and name: while the next module of one comes,
	// it stays as it was.
	last map[mesh.Origin]*mesh.Extension
}

// resolve says to the store what w wants, and gives w with what is there; w itself if it has no plugins. What is not there is told.
func (p *plugins) resolve(w *mesh.World) (*mesh.World, istio.Diagnostics) {
	p.store.Want(w.Modules)
	if len(w.Modules) == 0 {
		p.last = nil
		return w, nil
	}
	urls := map[string]mesh.Origin{} // of the extensions, by kind and name: where their modules are named
	for _, m := range w.Modules {
		for _, o := range m.Origins {
			urls[name(o).String()] = o
		}
	}
	var ds istio.Diagnostics
	out := *w
	out.Extensions = nil
	last := map[mesh.Origin]*mesh.Extension{}
	for _, e := range w.Extensions {
		if e.Wasm != nil {
			now, found := p.extension(e)
			if now.Wasm.Digest != "" {
				last[name(e.Origin)] = now
			}
			if found == nil {
				found = unserved(now, w.Settings.ModuleServer)
			}
			if found != nil {
				found.Position.Line = urls[name(e.Origin).String()].Line
				ds = append(ds, *found)
			}
			e = now
		}
		out.Extensions = append(out.Extensions, e)
	}
	p.last = last
	return &out, ds
}

// name is an object without its place.
func name(o mesh.Origin) mesh.Origin {
	return mesh.Origin{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// extension is e with its module, or as it was when it last had one.
func (p *plugins) extension(e *mesh.Extension) (*mesh.Extension, *istio.Diagnostic) {
	out, wasm := *e, *e.Wasm
	wasm.Digest = p.store.Digest(wasm.Module)
	out.Wasm = &wasm
	before := p.last[name(e.Origin)]
	if wasm.Digest == "" && before != nil {
		out = *before
	}
	err := p.store.Err(wasm.Module)
	if err == nil {
		return &out, nil
	}
	what := "requests are refused"
	switch {
	case out.Wasm.Digest != "":
		what = "the plugin stays as it was"
	case wasm.File != "":
		what = "proxies that have the file themselves use it; to others the plugin is as failStrategy says"
	case wasm.Failure == mesh.FailOpen:
		what = "requests pass without it"
	}
	return &out, aboutModule(e, istio.Error, fmt.Sprintf("%v: %s", err, what), "")
}

// unserved tells of a module that proxies would have to fetch from a control plane which does not know its own address; nil if not so.
func unserved(e *mesh.Extension, server string) *istio.Diagnostic {
	if server != "" || e.Wasm.Digest == "" || e.Wasm.File != "" {
		return nil
	}
	return aboutModule(e, istio.Warning, "proxies on other machines cannot fetch the module: --http-addr is every address, of which they cannot call one",
		"give the control plane --module-addr HOST:PORT, as proxies reach its monitoring port")
}

func aboutModule(e *mesh.Extension, severity istio.Severity, message, fix string) *istio.Diagnostic {
	path := "spec.url"
	if e.Origin.Kind == "TrafficExtension" {
		path = "spec.wasm.url"
	}
	return &istio.Diagnostic{
		Code: CodeModule, Severity: severity, Path: path, Message: message, Fix: fix,
		Object:   istio.Ref{Kind: e.Origin.Kind, Namespace: e.Namespace, Name: e.Name},
		Position: istio.Position{File: e.Origin.File},
	}
}

// withModules serves modules beside the monitoring pages.
func withModules(pages http.Handler, s *module.Store) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+xdsgen.ModulePath, http.StripPrefix(xdsgen.ModulePath, s.Handler()))
	mux.Handle("/", pages)
	return mux
}

// moduleDir is where modules are kept if nobody says.
func moduleDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "mizzen", "modules")
}

// reachable is an address that is bound as others may call it; "" if it is bound on every address of the machine.
func reachable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); !ok || tcp.IP.IsUnspecified() {
		return ""
	}
	return a.String()
}
