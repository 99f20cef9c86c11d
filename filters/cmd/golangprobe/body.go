package main

import (
	"bytes"
	"time"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"
)

// body is a plugin that knows nothing of Mizzen, as other people's plugins do: it makes the request's body upper case,
// in the way that the request's x-body header says, and repeats that header in the response.
type body struct {
	api.PassThroughStreamFilter
	cb   api.FilterCallbackHandler
	sum  string // the request's trailer x-sum
	mode string // each: chunk by chunk. whole: all at once, headers held back. later, drop: chunk by chunk on a goroutine
}

func newBody(_ any, cb api.FilterCallbackHandler) api.StreamFilter { return &body{cb: cb} }

// DecodeHeaders holds the headers back if the whole body is wanted.
func (f *body) DecodeHeaders(h api.RequestHeaderMap, end bool) api.StatusType {
	f.mode, _ = h.Get("x-body")
	f.cb.StreamInfo().FilterState().SetString("probe.mode", f.mode, api.StateTypeMutable, api.LifeSpanRequest, api.None)
	if f.mode == "whole" && !end {
		return api.StopAndBuffer
	}
	return api.Continue
}

// DecodeData makes it upper case.
func (f *body) DecodeData(b api.BufferInstance, _ bool) api.StatusType {
	switch f.mode {
	case "each", "whole":
		f.upper(b)
	case "later", "drop":
		go func() {
			to := f.cb.DecoderFilterCallbacks()
			defer to.RecoverPanic()
			time.Sleep(10 * time.Millisecond)
			f.upper(b)
			to.Continue(api.Continue)
		}()
		return api.Running
	}
	return api.Continue
}

func (f *body) upper(b api.BufferInstance) {
	if f.mode == "drop" {
		b.Reset()
	}
	if b.Len() > 0 {
		_ = b.Set(bytes.ToUpper(b.Bytes())) // never fails
	}
}

// DecodeTrailers reads and changes them.
func (f *body) DecodeTrailers(t api.RequestTrailerMap) api.StatusType {
	f.sum, _ = t.Get("x-sum")
	t.Set("x-more", "1")
	return api.Continue
}

// EncodeHeaders tells the trailer, and what the filter state kept, read on a goroutine.
func (f *body) EncodeHeaders(h api.ResponseHeaderMap, _ bool) api.StatusType {
	go func() {
		to := f.cb.EncoderFilterCallbacks()
		defer to.RecoverPanic()
		h.Set("x-sum", f.sum)
		h.Set("x-mode", f.cb.StreamInfo().FilterState().GetString("probe.mode"))
		to.Continue(api.Continue)
	}()
	return api.Running
}
