package dynmod

// #cgo CFLAGS: -O2 -Wall -Wextra
// #cgo linux LDFLAGS: -Wl,--unresolved-symbols=ignore-all
// #cgo darwin LDFLAGS: -Wl,-undefined,dynamic_lookup
// #cgo noescape mz_grow
// #cgo nocallback mz_grow
// #cgo noescape mz_gather
// #cgo nocallback mz_gather
// #cgo noescape mz_reroute
// #cgo nocallback mz_reroute
// #include "envoy.h"
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// numbers are those of Envoy's ABI that the C half uses, for a test to compare with the SDK's.
var numbers = struct {
	responseCode, responseDetails, grpcStatus, sourceAddress, upstreamAddress, routeName int
	goOn, stopAll, logError                                                              int
}{
	C.MZ_RESPONSE_CODE, C.MZ_RESPONSE_DETAILS, C.MZ_GRPC_STATUS, C.MZ_SOURCE_ADDRESS, C.MZ_UPSTREAM_ADDRESS,
	C.MZ_ROUTE_NAME, C.MZ_ENVOY_CONTINUE, C.MZ_ENVOY_STOP_ALL, C.MZ_ENVOY_ERROR,
}

// The functions that C calls. Every one of them guards itself against panics.

//export mzListener
func mzListener(config unsafe.Pointer, name, raw C.mz_text) *C.mz_level {
	l, err := newListener(module.kinds, module.env, cloned(raw), func(m *filter.Metric) (uint64, error) { return defineMetric(config, m) })
	if err = named(name, err); err != nil {
		logError("mizzen: reject the configuration: " + err.Error())
		return nil
	}
	level := C.mz_new_level(module.held.keep(unsafe.Pointer(l)), C.bool(idle(l.program)))
	l.ledger.flag = (*int32)(&level.dirty)
	l.config, l.desk = config, C.mz_desk(config)
	module.post.open(l)
	return level
}

//export mzRoute
func mzRoute(name, raw C.mz_text) *C.mz_level {
	p, err := newRoute(module.kinds, module.env, cloned(raw))
	if err = named(name, err); err != nil {
		logError("mizzen: reject a per-route configuration: " + err.Error())
		return nil
	}
	level := C.mz_new_level(module.held.keep(unsafe.Pointer(p)), C.bool(idle(p)))
	module.post.refer(p)
	return level
}

func named(name C.mz_text, err error) error {
	if got := string(bytesOf(name)); got != FilterName {
		return fmt.Errorf("find filter_name %q: this module has only %q", got, FilterName)
	}
	return err
}

// cloned copies text that Envoy owns.
func cloned(t C.mz_text) []byte { return append([]byte(nil), bytesOf(t)...) }

//export mzDrop
func mzDrop(p unsafe.Pointer) { module.held.drop(p) }

//export mzListenerGone
func mzListenerGone(p unsafe.Pointer) {
	defer recoveredInHook()
	module.post.close((*listener)(p))
	module.held.drop(p)
}

//export mzRouteGone
func mzRouteGone(p unsafe.Pointer) {
	defer recoveredInHook()
	module.post.release((*filter.Program)(p))
	module.held.drop(p)
}

//export mzPost
func mzPost(p unsafe.Pointer) {
	defer recoveredInHook()
	module.post.serve((*listener)(p))
}

//export mzPosted
func mzPosted(p unsafe.Pointer, id C.uint64_t, result C.int, headers *C.mz_header, n C.size_t, chunks *C.mz_text, m C.size_t) {
	defer recoveredInHook()
	module.post.answered((*listener)(p), uint64(id), answerOf(result, unsafe.Slice(headers, n), unsafe.Slice(chunks, m)))
}

// recoveredInHook is deferred in the hooks that belong to no stream: nothing in them may end Envoy.
func recoveredInHook() {
	if e := recover(); e != nil {
		logError("mizzen: panic in the module: " + asText(e))
	}
}

//export mzRequest
func mzRequest(c *C.mz_stream) C.int { return streamOf(c).onRequest() }

//export mzResponse
func mzResponse(c *C.mz_stream) C.int { return streamOf(c).onResponse() }

//export mzResume
func mzResume(c *C.mz_stream, id C.uint64_t) C.int { return streamOf(c).onResume(uint64(id)) }

//export mzAnswer
func mzAnswer(c *C.mz_stream, result C.int, headers *C.mz_header, n C.size_t, chunks *C.mz_text, m C.size_t) C.int {
	return streamOf(c).onAnswer(result, unsafe.Slice(headers, n), unsafe.Slice(chunks, m))
}

//export mzEnd
func mzEnd(c *C.mz_stream, last C.bool) { streamOf(c).onEnd(bool(last)) }

// streamOf is the Go half of a stream; the two are made once and stay together.
func streamOf(c *C.mz_stream) *stream {
	if c.half == nil {
		s := newStream(c)
		c.half = module.held.keep(unsafe.Pointer(s))
		return s
	}
	return (*stream)(c.half)
}

// defineMetric defines one of Envoy's metrics.
func defineMetric(config unsafe.Pointer, m *filter.Metric) (uint64, error) {
	texts := appendText(nil, m.Name)
	for _, l := range m.Labels {
		texts = appendText(texts, l)
	}
	var id C.size_t
	res := C.mz_define(config, C.bool(m.Gauge), unsafe.Pointer(&texts[0]), C.size_t(len(texts)), C.uint32_t(1+len(m.Labels)), &id)
	if res != 0 {
		return 0, fmt.Errorf("define metric %s: result %d", m.Name, res)
	}
	return uint64(id), nil
}

// logError writes to Envoy's log.
func logError(text string) {
	C.mz_log_error(unsafe.Pointer(unsafe.StringData(text)), C.size_t(len(text)))
}
