package mesh

import "cmp"

// FilterHost is what runs Mizzen's policies in a proxy.
type FilterHost string

// The hosts, as --filters and metadata MIZZEN_FILTERS name them.
const (
	HostModule FilterHost = "dynamic-module"
	HostWasm   FilterHost = "wasm"
	// HostGolang is the golang filter, which only Envoy's contrib build has.
	HostGolang FilterHost = "golang"
	// HostNative: Envoy's own filters do what they can. Also the form of a proxy that cannot load what it should.
	HostNative FilterHost = "native"
)

// FilterHosts are the names of all hosts, for annotations and settings.
func FilterHosts() []string {
	return []string{string(HostModule), string(HostWasm), string(HostGolang), string(HostNative)}
}

// Where a proxy that says what it runs, and not from which file, is taken to have it.
const (
	DefaultWasm   = "/etc/mizzen/mizzen.wasm"
	DefaultGolang = "/var/lib/mizzen/libmizzen-golang.so"
)

// Host tells what runs the policies in the proxy.
func (n Node) Host() FilterHost {
	switch {
	case n.Module:
		return HostModule
	case n.Wasm != "":
		return HostWasm
	case n.Golang != "":
		return HostGolang
	}
	return HostNative
}

// RunsOn is n with another host; file is the wasm module's or the golang library's, "" the default.
func (n Node) RunsOn(h FilterHost, file string) Node {
	n.Module, n.Wasm, n.Golang = h == HostModule, "", ""
	switch h {
	case HostWasm:
		n.Wasm = cmp.Or(file, DefaultWasm)
	case HostGolang:
		n.Golang = cmp.Or(file, DefaultGolang)
	}
	return n
}

// Mizzen tells whether Mizzen's own code runs there.
func (h FilterHost) Mizzen() bool { return h == HostModule || h == HostWasm || h == HostGolang }

// Calls tells whether Mizzen's own code can call other services there: a collector of spans, a rate-limit service.
func (h FilterHost) Calls() bool { return h == HostModule || h == HostWasm }
