package wasmtest

import (
	"context"

	"github.com/tetratelabs/wazero/api"
)

// status is what the ABI's functions answer.
type status uint32

const (
	ok            status = 0
	notFound      status = 1
	badArgument   status = 2
	badMemory     status = 6
	empty         status = 7
	casMismatch   status = 8
	internalError status = 10
	unimplemented status = 12
)

// hostFunc is one function of the ABI.
type hostFunc struct {
	name   string
	params []api.ValueType
	do     func(v *VM, p []uint64) status
}

func (f hostFunc) adapt() api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		v := ctx.Value(vmKey{}).(*VM) // Start put it there
		if v.module == nil {
			v.module = m // the module calls while it is being started
		}
		for i, t := range f.params {
			if t == api.ValueTypeI32 {
				stack[i] = uint64(uint32(stack[i])) // wazero leaves the upper half undefined
			}
		}
		stack[0] = uint64(f.do(v, stack))
	}
}

// i32s makes the parameter types of a function that takes n 32-bit integers.
func i32s(n int) []api.ValueType {
	out := make([]api.ValueType, n)
	for i := range out {
		out[i] = api.ValueTypeI32
	}
	return out
}

// i32i64 is one 32-bit integer and one of 64 bits.
func i32i64() []api.ValueType { return []api.ValueType{api.ValueTypeI32, api.ValueTypeI64} }

// abi lists the functions that this package offers. Those of gRPC, TCP and shared queues link, and answer that they
// are not implemented.
func abi() []hostFunc {
	none := func(*VM, []uint64) status { return unimplemented }
	return []hostFunc{
		{"proxy_log", i32s(3), (*VM).abiLog},
		{"proxy_get_log_level", i32s(1), (*VM).abiLogLevel},
		{"proxy_get_current_time_nanoseconds", i32s(1), (*VM).abiTime},
		{"proxy_get_status", i32s(3), (*VM).abiStatus},
		{"proxy_set_tick_period_milliseconds", i32s(1), (*VM).abiTick},
		{"proxy_set_effective_context", i32s(1), (*VM).abiEffective},
		{"proxy_done", nil, func(v *VM, _ []uint64) status { v.done = true; return ok }},
		{"proxy_get_property", i32s(4), (*VM).abiGetProperty},
		{"proxy_set_property", i32s(4), (*VM).abiSetProperty},
		{"proxy_call_foreign_function", i32s(6), (*VM).abiForeign},

		{"proxy_get_header_map_pairs", i32s(3), (*VM).abiGetPairs},
		{"proxy_set_header_map_pairs", i32s(3), (*VM).abiSetPairs},
		{"proxy_get_header_map_size", i32s(2), (*VM).abiMapSize},
		{"proxy_get_header_map_value", i32s(5), (*VM).abiGetHeader},
		{"proxy_add_header_map_value", i32s(5), (*VM).abiAddHeader},
		{"proxy_replace_header_map_value", i32s(5), (*VM).abiReplaceHeader},
		{"proxy_remove_header_map_value", i32s(3), (*VM).abiRemoveHeader},
		{"proxy_get_buffer_bytes", i32s(5), (*VM).abiGetBuffer},
		{"proxy_set_buffer_bytes", i32s(5), (*VM).abiSetBuffer},
		{"proxy_get_buffer_status", i32s(3), none},
		{"proxy_continue_stream", i32s(1), (*VM).abiContinue},
		{"proxy_close_stream", i32s(1), none},
		{"proxy_send_local_response", i32s(8), (*VM).abiReply},
		{"proxy_http_call", i32s(10), (*VM).abiHTTPCall},

		{"proxy_define_metric", i32s(4), (*VM).abiDefineMetric},
		{"proxy_increment_metric", i32i64(), (*VM).abiIncrement},
		{"proxy_record_metric", i32i64(), (*VM).abiRecord},
		{"proxy_get_metric", i32s(2), (*VM).abiGetMetric},
		{"proxy_get_shared_data", i32s(5), (*VM).abiGetShared},
		{"proxy_set_shared_data", i32s(5), (*VM).abiSetShared},
		{"proxy_register_shared_queue", i32s(3), none},
		{"proxy_resolve_shared_queue", i32s(5), none},
		{"proxy_enqueue_shared_queue", i32s(3), none},
		{"proxy_dequeue_shared_queue", i32s(3), none},

		{"proxy_grpc_call", i32s(12), none},
		{"proxy_grpc_stream", i32s(9), none},
		{"proxy_grpc_send", i32s(4), none},
		{"proxy_grpc_cancel", i32s(1), none},
		{"proxy_grpc_close", i32s(1), none},
	}
}

// read copies a piece of the module's memory.
func (v *VM) read(at, size uint64) ([]byte, bool) {
	if size == 0 {
		return nil, true
	}
	b, good := v.module.Memory().Read(uint32(at), uint32(size))
	return append([]byte(nil), b...), good
}

// give puts data into memory that the module allocates, and its address and size where the module wants them.
func (v *VM) give(data []byte, addressAt, sizeAt uint64) status {
	address := uint64(0)
	if len(data) > 0 {
		out, err := v.malloc.Call(v.ctx, uint64(len(data)))
		if err != nil || len(out) == 0 || out[0] == 0 {
			return internalError
		}
		address = out[0]
	}
	m := v.module.Memory()
	if !m.Write(uint32(address), data) || !m.WriteUint32Le(uint32(addressAt), uint32(address)) || !m.WriteUint32Le(uint32(sizeAt), uint32(len(data))) {
		return badMemory
	}
	return ok
}

// put writes a number into the module's memory.
func (v *VM) put(at uint64, n uint32) status {
	if !v.module.Memory().WriteUint32Le(uint32(at), n) {
		return badMemory
	}
	return ok
}

func (v *VM) put64(at, n uint64) status {
	if !v.module.Memory().WriteUint64Le(uint32(at), n) {
		return badMemory
	}
	return ok
}

// stream is the stream whose context is the effective one; nil in the plugin's own callbacks.
func (v *VM) stream() *Stream { return v.streams[v.effective] }
