package host

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

type requestLoader struct{ s *stream }

// LoadHeaders takes the snapshot of the request's headers, in one call.
func (l *requestLoader) LoadHeaders() []filter.Header {
	h, err := proxywasm.GetHttpRequestHeaders()
	l.s.entries[0] = snapshot(l.s.entries[0], h, err)
	return l.s.entries[0]
}

type responseLoader struct{ s *stream }

// LoadHeaders takes the snapshot of the response's headers, in one call.
func (l *responseLoader) LoadHeaders() []filter.Header {
	h, err := proxywasm.GetHttpResponseHeaders()
	l.s.entries[1] = snapshot(l.s.entries[1], h, err)
	return l.s.entries[1]
}

// snapshot copies headers into an array that is kept for reuse. Their text is in the VM's own memory, and the garbage
// collector's: it stays valid.
func snapshot(into []filter.Header, headers [][2]string, err error) []filter.Header {
	if err != nil {
		proxywasm.LogErrorf("mizzen: read headers: %v", err)
	}
	into = into[:0]
	for i := range headers {
		into = append(into, filter.Header{Name: headers[i][0], Value: headers[i][1]})
	}
	return into
}

// writeRequest replays edits on the request. Envoy selects the route anew after any of them.
func writeRequest(edits []filter.Edit) {
	for i := range edits {
		var err error
		switch e := &edits[i]; e.Op {
		case filter.EditSet:
			err = proxywasm.ReplaceHttpRequestHeader(e.Name, e.Value)
		case filter.EditAdd:
			err = proxywasm.AddHttpRequestHeader(e.Name, e.Value)
		case filter.EditRemove:
			err = proxywasm.RemoveHttpRequestHeader(e.Name)
		}
		if err != nil {
			proxywasm.LogErrorf("mizzen: write request header %s: %v", edits[i].Name, err)
		}
	}
}

// writeResponse replays edits on the response.
func writeResponse(edits []filter.Edit) {
	for i := range edits {
		var err error
		switch e := &edits[i]; e.Op {
		case filter.EditSet:
			err = proxywasm.ReplaceHttpResponseHeader(e.Name, e.Value)
		case filter.EditAdd:
			err = proxywasm.AddHttpResponseHeader(e.Name, e.Value)
		case filter.EditRemove:
			err = proxywasm.RemoveHttpResponseHeader(e.Name)
		}
		if err != nil {
			proxywasm.LogErrorf("mizzen: write response header %s: %v", edits[i].Name, err)
		}
	}
}
