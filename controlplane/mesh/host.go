package mesh

// FilterHost is what runs Mizzen's policies in a proxy.
type FilterHost string

// The hosts, as --filters and metadata MIZZEN_FILTERS name them.
const (
	HostModule FilterHost = "dynamic-module"
	HostWasm   FilterHost = "wasm"
	// HostNative: Envoy's own filters do what they can. Also the form of a proxy that cannot load what it should.
	HostNative FilterHost = "native"
)

// DefaultWasm is where a proxy that says it runs wasm, and not from which file, is taken to have it.
const DefaultWasm = "/etc/mizzen/mizzen.wasm"

// Host tells what runs the policies in the proxy.
func (n Node) Host() FilterHost {
	switch {
	case n.Module:
		return HostModule
	case n.Wasm != "":
		return HostWasm
	}
	return HostNative
}

// RunsOn is n with another host; file is the wasm module's, "" DefaultWasm.
func (n Node) RunsOn(h FilterHost, file string) Node {
	n.Module, n.Wasm = h == HostModule, ""
	if h == HostWasm {
		n.Wasm = file
		if file == "" {
			n.Wasm = DefaultWasm
		}
	}
	return n
}

// Mizzen tells whether Mizzen's own code runs there.
func (h FilterHost) Mizzen() bool { return h == HostModule || h == HostWasm }
