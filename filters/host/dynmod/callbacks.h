// Envoy's callbacks that this host uses, by the ABI of envoyproxy/envoy, source/extensions/dynamic_modules/abi/abi.h.
#pragma once

#include "envoy.h"

int envoy_dynamic_module_callback_http_filter_config_define_counter(void *, mz_text, mz_text *, size_t, size_t *);
int envoy_dynamic_module_callback_http_filter_config_define_gauge(void *, mz_text, mz_text *, size_t, size_t *);
int envoy_dynamic_module_callback_http_filter_increment_counter(void *, size_t, mz_text *, size_t, uint64_t);
int envoy_dynamic_module_callback_http_filter_increment_gauge(void *, size_t, mz_text *, size_t, uint64_t);
int envoy_dynamic_module_callback_http_filter_decrement_gauge(void *, size_t, mz_text *, size_t, uint64_t);
size_t envoy_dynamic_module_callback_http_get_headers_size(void *, int);
bool envoy_dynamic_module_callback_http_get_headers(void *, int, mz_header *);
bool envoy_dynamic_module_callback_http_add_header(void *, int, mz_text, mz_text);
bool envoy_dynamic_module_callback_http_set_header(void *, int, mz_text, mz_text);
void envoy_dynamic_module_callback_http_send_response(void *, uint32_t, mz_header *, size_t, mz_text, mz_text);
void envoy_dynamic_module_callback_http_set_dynamic_metadata_string(void *, mz_text, mz_text, mz_text);
void envoy_dynamic_module_callback_http_add_custom_flag(void *, mz_text);
void *envoy_dynamic_module_callback_http_filter_scheduler_new(void *);
void envoy_dynamic_module_callback_http_filter_scheduler_commit(void *, uint64_t);
void envoy_dynamic_module_callback_http_filter_scheduler_delete(void *);
void envoy_dynamic_module_callback_http_clear_route_cache(void *);
bool envoy_dynamic_module_callback_http_filter_get_attribute_string(void *, int, mz_text *);
int envoy_dynamic_module_callback_http_filter_http_callout(void *, uint64_t *, mz_text, mz_header *, size_t, mz_text, uint64_t);
bool envoy_dynamic_module_callback_http_get_cluster_name(void *, mz_text *);
bool envoy_dynamic_module_callback_http_get_header(void *, int, mz_text, mz_text *, size_t, size_t *);
bool envoy_dynamic_module_callback_http_filter_get_attribute_int(void *, int, uint64_t *);
void *envoy_dynamic_module_callback_http_filter_config_scheduler_new(void *);
void envoy_dynamic_module_callback_http_filter_config_scheduler_commit(void *, uint64_t);
void envoy_dynamic_module_callback_http_filter_config_scheduler_delete(void *);
int envoy_dynamic_module_callback_http_filter_config_http_callout(void *, uint64_t *, mz_text, mz_header *, size_t, mz_text, uint64_t);
void envoy_dynamic_module_callback_http_filter_continue_decoding(void *);
void envoy_dynamic_module_callback_http_filter_continue_encoding(void *);
const void *envoy_dynamic_module_callback_get_most_specific_route_config(void *);
void envoy_dynamic_module_callback_log(int, mz_text);

// Those that came with Envoy 1.38: NULL in an older one.
#define MZ_NEWER __attribute__((weak))
MZ_NEWER void *envoy_dynamic_module_callback_http_get_active_span(void *);
MZ_NEWER bool envoy_dynamic_module_callback_http_span_get_trace_id(void *, mz_text *);
MZ_NEWER bool envoy_dynamic_module_callback_http_span_get_span_id(void *, mz_text *);
MZ_NEWER void envoy_dynamic_module_callback_http_filter_reset_stream(void *, int, mz_text);
