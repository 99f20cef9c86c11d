// The symbols that a contrib golang library expects of its host. Go calls them from any thread. On the stream's worker
// they act at once; from elsewhere what touches Envoy is posted to the worker, in order.
#include "golanghost.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *p;
  ptrdiff_t n;
} go_string;

// enter locks a stream that Go may act on.
static bool enter(request *r, CAPIStatus *rc) {
  pthread_mutex_lock(&r->mu);
  if (r->filter == NULL) {
    *rc = CAPIFilterIsDestroy;
  } else if (!in_go(&r->decode) && !in_go(&r->encode)) {
    *rc = CAPINotInGo;
  } else {
    *rc = CAPIOK;
    return true;
  }
  pthread_mutex_unlock(&r->mu);
  return false;
}

static request *enter_state(state *s, CAPIStatus *rc) {
  if (!in_go(s)) {
    *rc = CAPINotInGo;
    return NULL;
  }
  request *r = (request *)s->p.req;
  return enter(r, rc) ? r : NULL;
}

static CAPIStatus leave(request *r, CAPIStatus rc) {
  pthread_mutex_unlock(&r->mu);
  return rc;
}

static task *task_new(void (*run)(request *, task *)) {
  task *t = must(calloc(1, sizeof *t));
  t->run = run;
  return t;
}

// post queues t for the worker. With the lock held.
static void post(request *r, task *t) {
  if (r->last != NULL) {
    r->last->next = t;
  } else {
    r->first = t;
  }
  r->last = t;
  envoy_dynamic_module_callback_http_filter_scheduler_commit(r->scheduler, 0);
}

static bool on_worker(const request *r) { return pthread_equal(r->worker, pthread_self()); }

// do_or_post runs t now on the worker, and posts it from elsewhere. Entered with the lock held.
static CAPIStatus do_or_post(request *r, task *t) {
  if (!on_worker(r)) {
    post(r, t);
    return leave(r, CAPIOK);
  }
  leave(r, CAPIOK);
  t->run(r, t);
  task_free(t);
  return CAPIOK;
}

// Going on. Always posted: Envoy must not be entered again from inside a hook.

static void run_continue(request *r, task *t) { stream_continue(r, t->s, t->number); }

CAPIStatus envoyGoFilterHttpContinue(void *s, int status) {
  CAPIStatus rc;
  request *r = enter_state(s, &rc);
  if (r == NULL) {
    return rc;
  }
  task *t = task_new(run_continue);
  t->s = s;
  t->number = status;
  post(r, t);
  return leave(r, CAPIOK);
}

static void run_reply(request *r, task *t) { stream_reply(r, t->s, t->number, &t->a, &t->headers, t->grpc, &t->b); }

CAPIStatus envoyGoFilterHttpSendLocalReply(void *s, int code, void *body, int body_len, void *list, int n,
                                           long long grpc, void *details, int details_len) {
  CAPIStatus rc;
  request *r = enter_state(s, &rc);
  if (r == NULL) {
    return rc;
  }
  task *t = task_new(run_reply);
  t->s = s;
  t->number = code;
  t->grpc = grpc;
  put(&t->a, body, (size_t)body_len);
  put(&t->b, details, (size_t)details_len);
  go_string *h = list;
  for (int i = 0; i + 1 < n; i += 2) {
    if (h[i + 1].n > 0) {
      map_add(&t->headers, h[i].p, (size_t)h[i].n, h[i + 1].p, (size_t)h[i + 1].n);
    }
  }
  post(r, t);
  return leave(r, CAPIOK);
}

CAPIStatus envoyGoFilterHttpSendPanicReply(void *s, void *details, int n) {
  log_text(envoy_dynamic_module_type_log_level_Error, details, (size_t)n);
  char body[] = "error happened in filter\r\n";
  return envoyGoFilterHttpSendLocalReply(s, 500, body, (int)strlen(body), NULL, 0, 0, NULL, 0);
}

// Headers and trailers: of the copy for reading, of both for writing.

static CAPIStatus copy_map(const map *m, void *strings, void *to) {
  go_string *s = strings;
  char *at = to;
  for (size_t i = 0; i < m->n; i++) {
    const bytes *v = &m->e[i].value;
    size_t n = strlen(m->e[i].name);
    memcpy(at, m->e[i].name, n);
    *s++ = (go_string){at, (ptrdiff_t)n};
    at += n;
    s->n = (ptrdiff_t)v->len;
    if (v->len > 0) { // Go must not see a pointer behind its block
      memcpy(at, v->data, v->len);
      s->p = at;
      at += v->len;
    }
    s++;
  }
  return CAPIOK;
}

static CAPIStatus copy(state *s, headers *h, void *strings, void *to) {
  CAPIStatus rc;
  request *r = enter_state(s, &rc);
  if (r == NULL) {
    return rc;
  }
  return leave(r, h->valid ? copy_map(&h->m, strings, to) : CAPIInvalidPhase);
}

CAPIStatus envoyGoFilterHttpCopyHeaders(void *s, void *strings, void *to) {
  return copy(s, &((state *)s)->headers, strings, to);
}
CAPIStatus envoyGoFilterHttpCopyTrailers(void *s, void *strings, void *to) {
  return copy(s, &((state *)s)->trailers, strings, to);
}

CAPIStatus envoyGoFilterHttpGetHeader(void *p, void *key, int n, uint64_t *data, int *len) {
  CAPIStatus rc;
  state *s = p;
  request *r = enter_state(s, &rc);
  if (r == NULL) {
    return rc;
  }
  entry *e = s->headers.valid ? map_get(&s->headers.m, key, (size_t)n) : NULL;
  if (e != NULL) {
    *data = (uint64_t)(uintptr_t)e->value.data;
    *len = (int)e->value.len;
  }
  return leave(r, s->headers.valid ? CAPIOK : CAPIInvalidPhase);
}

enum { Remove = -1 };

static void run_edit(request *r, task *t) {
  if (!t->h->valid) {
    return;
  }
  pthread_mutex_lock(&r->mu);
  if (t->number != HeaderAdd) {
    map_remove(&t->h->m, t->a.data, t->a.len);
  }
  if (t->number != Remove) {
    map_add(&t->h->m, t->a.data, t->a.len, t->b.data, t->b.len);
  }
  pthread_mutex_unlock(&r->mu);
  if (!t->h->envoy) {
    return;
  }
  envoy_dynamic_module_type_module_buffer none = {NULL, 0};
  if (t->number == HeaderAdd) {
    envoy_dynamic_module_callback_http_add_header(r->filter, t->h->type, buffer(&t->a), buffer(&t->b));
  } else {
    envoy_dynamic_module_callback_http_set_header(r->filter, t->h->type, buffer(&t->a),
                                                  t->number == Remove ? none : buffer(&t->b));
  }
}

static CAPIStatus edit(state *s, headers *h, void *key, int n, void *value, int len, int action) {
  CAPIStatus rc;
  request *r = enter_state(s, &rc);
  if (r == NULL) {
    return rc;
  }
  if (!h->valid) {
    return leave(r, CAPIInvalidPhase);
  }
  task *t = task_new(run_edit);
  t->h = h;
  t->number = action;
  put(&t->a, key, (size_t)n);
  put(&t->b, value, (size_t)len);
  return do_or_post(r, t);
}

CAPIStatus envoyGoFilterHttpSetHeaderHelper(void *s, void *key, int n, void *value, int len, headerAction action) {
  return edit(s, &((state *)s)->headers, key, n, value, len, (int)action);
}
CAPIStatus envoyGoFilterHttpRemoveHeader(void *s, void *key, int n) {
  return edit(s, &((state *)s)->headers, key, n, NULL, 0, Remove);
}
CAPIStatus envoyGoFilterHttpSetTrailer(void *s, void *key, int n, void *value, int len, headerAction action) {
  return edit(s, &((state *)s)->trailers, key, n, value, len, (int)action);
}
CAPIStatus envoyGoFilterHttpRemoveTrailer(void *s, void *key, int n) {
  return edit(s, &((state *)s)->trailers, key, n, NULL, 0, Remove);
}

// Bodies.

// enter_buffer locks the stream of a buffer that Go holds.
static request *enter_buffer(state *s, uint64_t id, CAPIStatus *rc) {
  request *r = enter_state(s, rc);
  if (r == NULL) {
    return NULL;
  }
  for (bytes *b = s->given; b != NULL; b = b->next) {
    if ((uint64_t)(uintptr_t)b == id) {
      return r;
    }
  }
  *rc = leave(r, CAPIInvalidPhase);
  return NULL;
}

CAPIStatus envoyGoFilterHttpGetBuffer(void *s, uint64_t id, void *to) {
  CAPIStatus rc;
  request *r = enter_buffer(s, id, &rc);
  if (r == NULL) {
    return rc;
  }
  bytes *b = (bytes *)(uintptr_t)id;
  memcpy(to, b->data, b->len);
  return leave(r, CAPIOK);
}

CAPIStatus envoyGoFilterHttpDrainBuffer(void *s, uint64_t id, uint64_t n) {
  CAPIStatus rc;
  request *r = enter_buffer(s, id, &rc);
  if (r == NULL) {
    return rc;
  }
  bytes *b = (bytes *)(uintptr_t)id;
  n = n < b->len ? n : b->len;
  memmove(b->data, b->data + n, b->len - n);
  b->len -= n;
  return leave(r, CAPIOK);
}

CAPIStatus envoyGoFilterHttpSetBufferHelper(void *s, uint64_t id, void *data, int n, bufferAction action) {
  CAPIStatus rc;
  request *r = enter_buffer(s, id, &rc);
  if (r == NULL) {
    return rc;
  }
  bytes *b = (bytes *)(uintptr_t)id, before = {0};
  if (action != Append) {
    take(&before, b);
  }
  put(b, data, (size_t)n);
  if (action == Prepend) {
    take(b, &before);
  }
  wipe(&before);
  return leave(r, CAPIOK);
}

// Adding and injecting data have no counterpart here: see README.md.
CAPIStatus envoyGoFilterHttpAddData(void *s, void *data, int n, bool streaming) {
  (void)s, (void)data, (void)n, (void)streaming;
  return CAPIInvalidScene;
}
CAPIStatus envoyGoFilterHttpInjectData(void *s, void *data, int n) {
  (void)s, (void)data, (void)n;
  return CAPIInvalidScene;
}

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

// Metrics: kept here, told to Envoy from the next stream's worker. Type 0 counts, 1 is a gauge.

CAPIStatus envoyGoFilterHttpDefineMetric(void *p, uint32_t type, void *name, int n, uint32_t *id) {
  config *c = p;
  pthread_mutex_lock(&c->mu);
  uint32_t i = 0;
  while (i < c->metric_count &&
         (c->metrics[i].name.len != (size_t)n || memcmp(c->metrics[i].name.data, name, (size_t)n) != 0)) {
    i++;
  }
  CAPIStatus rc = i < max_metrics && type <= 1 ? CAPIOK : CAPIInvalidScene;
  if (rc == CAPIOK && i == c->metric_count) {
    put(&c->metrics[i].name, name, (size_t)n);
    c->metrics[i].type = type;
    c->metric_count++;
  }
  *id = i;
  pthread_mutex_unlock(&c->mu);
  return rc;
}

static CAPIStatus move(config *c, uint32_t id, int64_t by, bool to) {
  pthread_mutex_lock(&c->mu);
  if (id < c->metric_count) {
    by -= to ? c->metrics[id].value : 0;
    c->metrics[id].value += by;
    c->metrics[id].pending += by;
  }
  pthread_mutex_unlock(&c->mu);
  return CAPIOK;
}

CAPIStatus envoyGoFilterHttpIncrementMetric(void *c, uint32_t id, int64_t n) { return move(c, id, n, false); }
CAPIStatus envoyGoFilterHttpRecordMetric(void *c, uint32_t id, uint64_t n) { return move(c, id, (int64_t)n, true); }

CAPIStatus envoyGoFilterHttpGetMetric(void *p, uint32_t id, uint64_t *value) {
  config *c = p;
  pthread_mutex_lock(&c->mu);
  *value = id < c->metric_count ? (uint64_t)c->metrics[id].value : 0;
  pthread_mutex_unlock(&c->mu);
  return CAPIOK;
}

void envoyGoConfigHttpFinalize(void *c) { config_release(c); }
