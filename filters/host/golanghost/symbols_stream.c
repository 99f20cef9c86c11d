// Symbols that read and write what belongs to the whole stream: its route, metadata, filter state and properties; and
// the log.
#include "golanghost.h"

#include <string.h>

// Of the stream.

static void run_override(request *r, task *t) {
  envoy_dynamic_module_callback_http_set_upstream_override_host(r->filter, buffer(&t->a), t->number != 0);
}

CAPIStatus envoyGoFilterHttpSetUpstreamOverrideHost(void *p, void *host, int n, bool strict) {
  CAPIStatus rc;
  state *s = p;
  request *r = enter_state(s, &rc);
  if (r == NULL) {
    return rc;
  }
  if (s->p.is_encoding) {
    return leave(r, CAPIInvalidPhase);
  }
  if (on_worker(r)) {
    envoy_dynamic_module_type_module_buffer b = {host, (size_t)n};
    bool ok = envoy_dynamic_module_callback_http_set_upstream_override_host(r->filter, b, strict);
    return leave(r, ok ? CAPIOK : CAPIInvalidIPAddress);
  }
  task *t = task_new(run_override);
  t->number = strict;
  put(&t->a, host, (size_t)n);
  return do_or_post(r, t);
}

static void run_clear(request *r, task *t) {
  envoy_dynamic_module_callback_http_clear_route_cache(r->filter);
  if (t->number != 0) {
    (void)envoy_dynamic_module_callback_get_most_specific_route_config(r->filter); // makes Envoy select a route now
    attribute(r, &r->route_name, envoy_dynamic_module_type_attribute_id_XdsRouteName);
  }
}

CAPIStatus envoyGoFilterHttpClearRouteCache(void *p, bool refresh) {
  CAPIStatus rc;
  if (!enter(p, &rc)) {
    return rc;
  }
  task *t = task_new(run_clear);
  t->number = refresh;
  return do_or_post(p, t);
}

// text keeps what a read returns until the next. With the lock held.
static CAPIStatus text(request *r, const char *data, size_t n, uint64_t *out, int *len) {
  wipe(&r->text);
  put(&r->text, data, n);
  *out = (uint64_t)(uintptr_t)r->text.data;
  *len = (int)r->text.len;
  return CAPIOK;
}

CAPIStatus envoyGoFilterHttpGetStringValue(void *p, int id, uint64_t *data, int *len) {
  CAPIStatus rc;
  request *r = p;
  if (!enter(r, &rc)) {
    return rc;
  }
  const bytes *v = id == 1 ? &r->route_name : id == 7 ? &r->local_address : id == 8 ? &r->remote_address : NULL;
  if (v != NULL) {
    return leave(r, text(r, v->data, v->len, data, len));
  }
  envoy_dynamic_module_type_attribute_id attribute =
      id == 2    ? envoy_dynamic_module_type_attribute_id_XdsFilterChainName
      : id == 5  ? envoy_dynamic_module_type_attribute_id_ResponseCodeDetails
      : id == 9  ? envoy_dynamic_module_type_attribute_id_UpstreamLocalAddress
      : id == 10 ? envoy_dynamic_module_type_attribute_id_UpstreamAddress
      : id == 11 ? envoy_dynamic_module_type_attribute_id_XdsClusterName
                 : envoy_dynamic_module_type_attribute_id_HealthCheck; // no string: not found
  envoy_dynamic_module_type_envoy_buffer b = {0};
  if (on_worker(r) && envoy_dynamic_module_callback_http_filter_get_attribute_string(r->filter, attribute, &b)) {
    return leave(r, text(r, b.ptr, b.length, data, len));
  }
  return leave(r, CAPIValueNotFound);
}

CAPIStatus envoyGoFilterHttpGetIntegerValue(void *p, int id, uint64_t *value) {
  CAPIStatus rc;
  request *r = p;
  if (!enter(r, &rc)) {
    return rc;
  }
  bool found = id == 4 && on_worker(r) &&
               envoy_dynamic_module_callback_http_filter_get_attribute_int(
                   r->filter, envoy_dynamic_module_type_attribute_id_ResponseCode, value);
  return leave(r, found ? CAPIOK : CAPIValueNotFound);
}

// A value of dynamic metadata is a serialized google.protobuf.Value: a number (field 2), a string (3) or a bool (4).
static void run_metadata(request *r, task *t) {
  const unsigned char *b = (unsigned char *)t->c.data;
  size_t n = t->c.len, at = 1, len = 0;
  if (n >= 2 && b[0] == 0x1a) {
    for (int shift = 0; at < n && shift < 35; shift += 7) {
      len |= (size_t)(b[at] & 127) << shift;
      if (b[at++] < 128) {
        break;
      }
    }
    if (len <= n - at) {
      envoy_dynamic_module_type_module_buffer v = {t->c.data + at, len};
      envoy_dynamic_module_callback_http_set_dynamic_metadata_string(r->filter, buffer(&t->a), buffer(&t->b), v);
    }
  } else if (n == 9 && b[0] == 0x11) {
    double v;
    memcpy(&v, b + 1, sizeof v);
    envoy_dynamic_module_callback_http_set_dynamic_metadata_number(r->filter, buffer(&t->a), buffer(&t->b), v);
  } else if (n == 2 && b[0] == 0x20) {
    envoy_dynamic_module_callback_http_set_dynamic_metadata_bool(r->filter, buffer(&t->a), buffer(&t->b), b[1] != 0);
  }
}

CAPIStatus envoyGoFilterHttpSetDynamicMetadata(void *r, void *name, int name_len, void *key, int key_len, void *value,
                                               int n) {
  CAPIStatus rc;
  if (!enter(r, &rc)) {
    return rc;
  }
  task *t = task_new(run_metadata);
  put(&t->a, name, (size_t)name_len);
  put(&t->b, key, (size_t)key_len);
  put(&t->c, value, (size_t)n);
  return do_or_post(r, t);
}

CAPIStatus envoyGoFilterHttpGetDynamicMetadata(void *r, void *name, int n, uint64_t *data, int *len) {
  (void)r, (void)name, (void)n, (void)data, (void)len;
  return CAPIOK; // an empty Struct
}

static void run_set_state(request *r, task *t) {
  envoy_dynamic_module_callback_http_set_filter_state_bytes(r->filter, buffer(&t->a), buffer(&t->b));
}

CAPIStatus envoyGoFilterHttpSetStringFilterState(void *r, void *key, int n, void *value, int len, int type, int span,
                                                 int sharing) {
  (void)type, (void)span, (void)sharing;
  CAPIStatus rc;
  if (!enter(r, &rc)) {
    return rc;
  }
  task *t = task_new(run_set_state);
  put(&t->a, key, (size_t)n);
  put(&t->b, value, (size_t)len);
  return do_or_post(r, t);
}

// run_get_state reads for a goroutine that waits: destroying the stream wakes it too.
static void run_get_state(request *r, task *t) {
  envoy_dynamic_module_type_envoy_buffer b = {0};
  if (envoy_dynamic_module_callback_http_get_filter_state_bytes(r->filter, buffer(&t->a), &b)) {
    pthread_mutex_lock(&r->mu);
    text(r, b.ptr, b.length, t->data_out, t->len_out);
    pthread_mutex_unlock(&r->mu);
  }
  if (t->number != 0) {
    r->cfg->lib->sema_dec(&r->r);
  }
}

CAPIStatus envoyGoFilterHttpGetStringFilterState(void *p, void *key, int n, uint64_t *data, int *len) {
  CAPIStatus rc;
  request *r = p;
  if (!enter(r, &rc)) {
    return rc;
  }
  task *t = task_new(run_get_state);
  bool here = on_worker(r);
  put(&t->a, key, (size_t)n);
  t->data_out = data;
  t->len_out = len;
  t->number = !here;
  rc = do_or_post(r, t);
  return here ? rc : CAPIYield;
}

static void run_property(request *r, task *t) {
  bytes value = {0};
  *t->rc_out = CAPIValueNotFound;
  if (property(r, t->a.data, t->a.len, &value)) {
    pthread_mutex_lock(&r->mu);
    *t->rc_out = text(r, value.data, value.len, t->data_out, t->len_out);
    pthread_mutex_unlock(&r->mu);
  }
  wipe(&value);
  if (t->number != 0) {
    r->cfg->lib->sema_dec(&r->r);
  }
}

CAPIStatus envoyGoFilterHttpGetStringProperty(void *p, void *key, int n, uint64_t *data, int *len, int *rc_out) {
  CAPIStatus rc;
  request *r = p;
  if (!enter(r, &rc)) {
    return rc;
  }
  bool here = on_worker(r);
  int own = CAPIOK;
  task *t = task_new(run_property);
  put(&t->a, key, (size_t)n);
  t->data_out = data;
  t->len_out = len;
  t->rc_out = here ? &own : rc_out;
  t->number = !here;
  do_or_post(r, t);
  return here ? (CAPIStatus)own : CAPIYield;
}

CAPIStatus envoyGoFilterHttpGetStringSecret(void *r, void *key, int n, uint64_t *data, int *len) {
  (void)r, (void)key, (void)n, (void)data;
  *len = -1; // no such secret
  return CAPIOK;
}

CAPIStatus envoyGoFilterHttpSetDrainConnectionUponCompletion(void *r) {
  (void)r;
  return CAPIInvalidScene;
}

void envoyGoFilterHttpFinalize(void *r, int reason) {
  (void)reason;
  request_release(r);
}

void envoyGoFilterLog(uint32_t level, void *message, int n) { log_text((int)level, message, (size_t)n); }

uint32_t envoyGoFilterLogLevel(void) {
  uint32_t level = envoy_dynamic_module_type_log_level_Trace;
  while (level < envoy_dynamic_module_type_log_level_Critical &&
         !envoy_dynamic_module_callback_log_enabled((envoy_dynamic_module_type_log_level)level)) {
    level++;
  }
  return level;
}
