package wasmtest

import (
	"slices"
	"strings"
	"time"
)

// Map and buffer types of the ABI that are not a stream's own.
const (
	callHeaders  = 6
	callTrailers = 7

	requestBody  = 0
	responseBody = 1
	callBody     = 4
	vmConfig     = 6
	pluginConfig = 7
)

// headerMap finds a header map; writable ones belong to a stream.
func (v *VM) headerMap(kind uint64) (m *Headers, writable bool) {
	switch s := v.stream(); {
	case kind <= responseTrailers && s != nil:
		return &s.maps[kind], true
	case kind == callHeaders && v.answering != nil:
		return &v.answering.response[0], false
	case kind == callTrailers && v.answering != nil:
		return &v.answering.response[1], false
	}
	return nil, false
}

func (v *VM) abiGetPairs(p []uint64) status {
	m, _ := v.headerMap(p[0])
	if m == nil {
		return badArgument
	}
	return v.give(m.encode(), p[1], p[2])
}

func (v *VM) abiSetPairs(p []uint64) status {
	m, writable := v.headerMap(p[0])
	raw, good := v.read(p[1], p[2])
	if !good {
		return badMemory
	}
	h, err := decode(raw)
	if m == nil || !writable || err != nil {
		return badArgument
	}
	*m = h
	return ok
}

func (v *VM) abiMapSize(p []uint64) status {
	m, _ := v.headerMap(p[0])
	if m == nil {
		return badArgument
	}
	return v.put(p[1], uint32(len(m.encode())))
}

func (v *VM) abiGetHeader(p []uint64) status {
	m, _ := v.headerMap(p[0])
	name, good := v.read(p[1], p[2])
	switch {
	case !good:
		return badMemory
	case m == nil:
		return badArgument
	}
	values := m.Values(strings.ToLower(string(name)))
	if len(values) == 0 {
		return notFound
	}
	return v.give([]byte(strings.Join(values, ",")), p[3], p[4])
}

// edit applies change to a header map, with the name and value that the module gives.
func (v *VM) edit(p []uint64, change func(m *Headers, name, value string)) status {
	m, writable := v.headerMap(p[0])
	name, good := v.read(p[1], p[2])
	var value []byte
	if len(p) > 3 && good {
		value, good = v.read(p[3], p[4])
	}
	switch {
	case !good:
		return badMemory
	case m == nil || !writable || len(name) == 0:
		return badArgument
	}
	change(m, strings.ToLower(string(name)), string(value))
	return ok
}

func (v *VM) abiAddHeader(p []uint64) status {
	return v.edit(p[:5], func(m *Headers, name, value string) { *m = append(*m, [2]string{name, value}) })
}

// abiReplaceHeader keeps the place of the first value: pseudo headers stay in front.
func (v *VM) abiReplaceHeader(p []uint64) status {
	return v.edit(p[:5], func(m *Headers, name, value string) {
		i := slices.IndexFunc(*m, func(e [2]string) bool { return e[0] == name })
		if i < 0 {
			*m = append(*m, [2]string{name, value})
			return
		}
		rest := (*m)[i+1:].without(name)
		*m = append(append((*m)[:i:i], [2]string{name, value}), rest...)
	})
}

func (v *VM) abiRemoveHeader(p []uint64) status {
	return v.edit(p[:3], func(m *Headers, name, _ string) { *m = m.without(name) })
}

// buffer finds a buffer; writable ones belong to a stream.
func (v *VM) buffer(kind uint64) (b *[]byte, writable bool) {
	fixed := func(s string) *[]byte { b := []byte(s); return &b }
	switch s := v.stream(); {
	case kind <= responseBody && s != nil:
		return &s.buffers[kind], true
	case kind == callBody && v.answering != nil:
		return &v.answering.body, false
	case kind == vmConfig:
		return fixed(v.options.VMConfig), false
	case kind == pluginConfig:
		return fixed(v.options.Config), false
	}
	return nil, false
}

func (v *VM) abiGetBuffer(p []uint64) status {
	b, _ := v.buffer(p[0])
	if b == nil {
		return notFound
	}
	start := min(uint64(uint32(p[1])), uint64(len(*b)))
	end := min(start+uint64(uint32(p[2])), uint64(len(*b)))
	return v.give((*b)[start:end], p[3], p[4])
}

// abiSetBuffer replaces size bytes from start: with size 0 it puts the data in front or, beyond the end, behind.
func (v *VM) abiSetBuffer(p []uint64) status {
	b, writable := v.buffer(p[0])
	data, good := v.read(p[3], p[4])
	switch {
	case !good:
		return badMemory
	case b == nil || !writable:
		return badArgument
	}
	start := min(uint64(uint32(p[1])), uint64(len(*b)))
	end := min(start+uint64(uint32(p[2])), uint64(len(*b)))
	*b = slices.Concat((*b)[:start], data, (*b)[end:])
	return ok
}

func (v *VM) abiContinue(p []uint64) status {
	s := v.stream()
	if s == nil || p[0] > responseSide {
		return badArgument
	}
	if s.reply == nil {
		s.resume(int(p[0]))
	}
	return ok
}

// abiReply keeps the first reply: Envoy drops any after it.
func (v *VM) abiReply(p []uint64) status {
	details, good1 := v.read(p[1], p[2])
	body, good2 := v.read(p[3], p[4])
	raw, good3 := v.read(p[5], p[6])
	if !good1 || !good2 || !good3 {
		return badMemory
	}
	headers, err := decode(raw)
	s := v.stream()
	if err != nil || s == nil {
		return badArgument
	}
	if s.reply == nil {
		s.reply = &Reply{Status: int(uint32(p[0])), Details: string(details), Headers: headers, Body: string(body), GRPCStatus: int(int32(p[7]))}
	}
	return ok
}

func (v *VM) abiHTTPCall(p []uint64) status {
	cluster, good1 := v.read(p[0], p[1])
	headers, good2 := v.read(p[2], p[3])
	body, good3 := v.read(p[4], p[5])
	trailers, good4 := v.read(p[6], p[7])
	if !good1 || !good2 || !good3 || !good4 {
		return badMemory
	}
	h, err1 := decode(headers)
	t, err2 := decode(trailers)
	known := v.options.Clusters == nil || slices.Contains(v.options.Clusters, string(cluster))
	if err1 != nil || err2 != nil || !known || !h.Has(":method") || !h.Has(":path") || !h.Has(":authority") {
		return badArgument
	}
	timeout := time.Duration(uint32(p[8])) * time.Millisecond
	v.lastCall++
	v.calls[v.lastCall] = &HTTPCall{
		Cluster: string(cluster), Headers: h, Body: body, Trailers: t, Timeout: timeout,
		vm: v, id: v.lastCall, due: v.now.Add(timeout),
	}
	return v.put(p[9], v.lastCall)
}
