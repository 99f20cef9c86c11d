// Hooks that Envoy looks for when it loads a module, and that have nothing to do here: they answer calls that we never
// make. Declared without parameters, so apart from abi.h.
#define UNUSED(name)                                                                                                   \
  __attribute__((visibility("default"))) int envoy_dynamic_module_on_http_filter_##name(void) { return 0; }

UNUSED(http_callout_done)
UNUSED(http_stream_headers)
UNUSED(http_stream_data)
UNUSED(http_stream_trailers)
UNUSED(http_stream_complete)
UNUSED(http_stream_reset)
UNUSED(downstream_above_write_buffer_high_watermark)
UNUSED(downstream_below_write_buffer_low_watermark)
UNUSED(local_reply)
UNUSED(config_scheduled)
UNUSED(config_http_callout_done)
UNUSED(config_http_stream_headers)
UNUSED(config_http_stream_data)
UNUSED(config_http_stream_trailers)
UNUSED(config_http_stream_complete)
UNUSED(config_http_stream_reset)
