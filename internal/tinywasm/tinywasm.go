// Package tinywasm writes proxy-wasm modules of a few hundred bytes, for tests: a proxy has them running in a millisecond, where a
// module made by Go takes seconds.
package tinywasm

import "encoding/binary"

// Plugin says what a module does. The zero Plugin does nothing.
type Plugin struct {
	// RequestHeader and ResponseHeader are added: name and value. A value of "" is the plugin's configuration.
	RequestHeader, ResponseHeader [2]string
	// Env, if not "", is the name of a response header that is to hold the VM's environment, of one variable: "NAME=value".
	Env string
	// Refuse, if not 0, is the status that every request is answered with.
	Refuse int
	// TrapAbove, if not 0, ends the VM with a request of more headers than that.
	TrapAbove int
	// BadConfig refuses its configuration.
	BadConfig bool
	// CloseConnections ends every connection (of plugins of connections).
	CloseConnections bool
	// NotForProxies leaves out what makes it a plugin.
	NotForProxies bool
}

// Types of functions by their parameters, all 32-bit integers, and whether they have a result.
const (
	none   = iota // () -> ()
	one           // (i32) -> i32
	two           // (i32, i32) -> i32
	twoNil        // (i32, i32) -> ()
	three         // (i32 x 3) -> i32
	five          // (i32 x 5) -> i32
	eight         // (i32 x 8) -> i32
)

// Imported functions, by index.
const (
	addHeader = iota
	sendReply
	getBuffer
	closeStream
	environSizes
	environGet
	imported // their number
)

// Places in memory: results of calls, the environment, strings, and what the host asks for.
const (
	resultA, resultB = 16, 20
	configA, configB = 32, 36
	environPtr       = 64
	environBuf       = 1024
	stringsAt        = 4096
	heapAt           = 16384
	heapEnd          = 61440
)

// Instructions.
const (
	end         = 0x0b
	call        = 0x10
	drop        = 0x1a
	localGet    = 0x20
	globalGet   = 0x23
	globalSet   = 0x24
	load        = 0x28
	constant    = 0x41
	greater     = 0x4b // unsigned
	add         = 0x6a
	subtract    = 0x6b
	ifVoid      = 0x04
	void        = 0x40
	unreachable = 0x00
	i32         = 0x7f
)

// Module is the module as a file.
func (p Plugin) Module() []byte {
	a := &assembler{}
	bodies := []struct {
		name string
		kind byte
		code []byte
	}{
		{"proxy_abi_version_0_2_1", none, nil},
		{"proxy_on_memory_allocate", one, allocate()},
		{"proxy_on_context_create", twoNil, nil},
		{"proxy_on_vm_start", two, number(1)},
		{"proxy_on_configure", two, p.configure()},
		{"proxy_on_request_headers", three, a.request(p)},
		{"proxy_on_response_headers", three, a.response(p)},
		{"proxy_on_new_connection", one, p.connection()},
	}
	var functions, exports, code [][]byte
	for i, b := range bodies {
		if p.NotForProxies && i == 0 {
			b.name = "nothing"
		}
		functions = append(functions, []byte{b.kind})
		exports = append(exports, concat(text(b.name), []byte{0}, uleb(imported+i)))
		code = append(code, sized(concat([]byte{0}, b.code, []byte{end})))
	}
	exports = append(exports, concat(text("memory"), []byte{2, 0}))
	return concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vector(types()...)), section(2, vector(imports()...)), section(3, vector(functions...)),
		section(5, vector([]byte{0, 1})), section(6, vector(concat([]byte{i32, 1}, number(heapAt), []byte{end}))),
		section(7, vector(exports...)), section(10, vector(code...)),
		section(11, vector(concat([]byte{0}, number(stringsAt), []byte{end}, text(string(a.data))))))
}

func (p Plugin) configure() []byte {
	if p.BadConfig {
		return number(0)
	}
	const pluginConfiguration, all = 7, 1 << 20
	return concat(calling(getBuffer, pluginConfiguration, 0, all, configA, configB), number(1))
}

func (p Plugin) connection() []byte {
	const downstream = 2
	var code []byte
	if p.CloseConnections {
		code = calling(closeStream, downstream)
	}
	return concat(code, number(0))
}

// assembler collects strings.
type assembler struct{ data []byte }

func (a *assembler) place(s string) (at, size int) {
	at = stringsAt + len(a.data)
	a.data = append(a.data, s...)
	return at, len(s)
}

func (a *assembler) request(p Plugin) []byte {
	switch {
	case p.TrapAbove != 0:
		return concat([]byte{localGet, 1}, number(p.TrapAbove), []byte{greater, ifVoid, void, unreachable, end}, number(0))
	case p.Refuse != 0:
		at, size := a.place("refused by a plugin")
		const noStatus = -1
		return concat(calling(sendReply, p.Refuse, at, 0, at, size, 0, 0, noStatus), number(1)) // 1: stop here
	}
	return concat(a.header(0, p.RequestHeader), number(0))
}

func (a *assembler) response(p Plugin) []byte {
	code := a.header(2, p.ResponseHeader)
	if p.Env != "" {
		at, size := a.place(p.Env)
		code = concat(code, calling(environSizes, resultA, resultB), calling(environGet, environPtr, environBuf),
			number(2), number(at), number(size), number(environBuf), loaded(resultB), number(1), []byte{subtract, call, addHeader, drop})
	}
	return concat(code, number(0))
}

// header adds one to the request (0) or the response (2).
func (a *assembler) header(to int, h [2]string) []byte {
	if h[0] == "" {
		return nil
	}
	at, size := a.place(h[0])
	if h[1] == "" {
		return concat(number(to), number(at), number(size), loaded(configA), loaded(configB), []byte{call, addHeader, drop})
	}
	value, length := a.place(h[1])
	return calling(addHeader, to, at, size, value, length)
}

// allocate gives out memory, from the beginning again when it ends: nothing is kept for long.
func allocate() []byte {
	return concat(
		[]byte{globalGet, 0}, number(heapEnd), []byte{greater, ifVoid, void}, number(heapAt), []byte{globalSet, 0, end},
		[]byte{globalGet, 0}, []byte{globalGet, 0, localGet, 0, add, globalSet, 0})
}

func types() [][]byte {
	of := func(params int, result bool) []byte {
		t := []byte{0x60, byte(params)}
		for range params {
			t = append(t, i32)
		}
		if result {
			return append(t, 1, i32)
		}
		return append(t, 0)
	}
	return [][]byte{of(0, false), of(1, true), of(2, true), of(2, false), of(3, true), of(5, true), of(8, true)}
}

func imports() [][]byte {
	of := func(module, name string, kind byte) []byte { return concat(text(module), text(name), []byte{0, kind}) }
	return [][]byte{
		of("env", "proxy_add_header_map_value", five), of("env", "proxy_send_local_response", eight), of("env", "proxy_get_buffer_bytes", five),
		of("env", "proxy_close_stream", one), of("wasi_snapshot_preview1", "environ_sizes_get", two), of("wasi_snapshot_preview1", "environ_get", two),
	}
}

// calling calls an imported function with numbers and drops what it returns.
func calling(function byte, args ...int) []byte {
	var code []byte
	for _, n := range args {
		code = append(code, number(n)...)
	}
	return append(code, call, function, drop)
}

func number(n int) []byte { return append([]byte{constant}, sleb(n)...) }

func loaded(at int) []byte { return concat(number(at), []byte{load, 2, 0}) }

func section(id byte, body []byte) []byte { return concat([]byte{id}, sized(body)) }

func vector(items ...[]byte) []byte { return concat(uleb(len(items)), concat(items...)) }

func sized(b []byte) []byte { return concat(uleb(len(b)), b) }

func text(s string) []byte { return sized([]byte(s)) }

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(n int) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func concat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
