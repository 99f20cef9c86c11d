// The host symbols. Each takes the lock for as long as it runs: Go may call from any thread.
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *p;
  ptrdiff_t n;
} go_string;

// enter finds the stream of a request, with the lock held if it returns one.
static stream *enter(request *r, CAPIStatus *rc) {
  host_lock();
  stream *st = r->stream;
  if (st == NULL) {
    *rc = CAPIFilterIsGone;
  } else if (!in_go(&r->decode) && !in_go(&r->encode)) {
    *rc = CAPINotInGo;
  } else if (st->destroyed) {
    *rc = CAPIFilterIsDestroy;
  } else {
    *rc = CAPIOK;
    return st;
  }
  host_unlock();
  return NULL;
}

static stream *enter_state(state *s, CAPIStatus *rc) {
  if (!in_go(s)) {
    *rc = CAPINotInGo;
    return NULL;
  }
  return enter((request *)s->p.req, rc);
}

static CAPIStatus leave(CAPIStatus rc) {
  host_unlock();
  return rc;
}

static bool on_worker(const stream *st) { return pthread_equal(st->w->thread, pthread_self()); }

// do_or_post runs t now if the caller is on the stream's worker, and posts it otherwise. Entered with the lock held.
static CAPIStatus do_or_post(stream *st, task *t) {
  if (!on_worker(st)) {
    task_post(t);
    return leave(CAPIOK);
  }
  host_unlock();
  t->run(t, st);
  host_lock();
  request_release(t->req);
  wipe(&t->a);
  wipe(&t->b);
  map_wipe(&t->headers);
  free(t);
  return leave(CAPIOK);
}

// Going on.

static void run_continue(task *t, stream *st) {
  if (st != NULL) {
    stream_continue(st, t->s, t->number);
  }
}

CAPIStatus envoyGoFilterHttpContinue(void *p, int status) {
  CAPIStatus rc;
  stream *st = enter_state(p, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(st->req, p, run_continue);
  t->number = status;
  task_post(t); // always posted, also on the worker
  return leave(CAPIOK);
}

static void run_reply(task *t, stream *st) {
  if (st != NULL) {
    stream_reply(st, t->s, t->number, &t->a, &t->headers, t->grpc, &t->b);
  }
}

CAPIStatus envoyGoFilterHttpSendLocalReply(void *p, int code, void *body, int body_len, void *headers, int n,
                                           long long grpc, void *details, int details_len) {
  CAPIStatus rc;
  stream *st = enter_state(p, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(st->req, p, run_reply);
  t->number = code;
  t->grpc = grpc;
  put(&t->a, body, (size_t)body_len);
  put(&t->b, details, (size_t)details_len);
  go_string *s = headers;
  for (int i = 0; i + 1 < n; i += 2) {
    if (s[i + 1].n > 0) {
      map_add(&t->headers, s[i].p, (size_t)s[i].n, s[i + 1].p, (size_t)s[i + 1].n);
    }
  }
  task_post(t);
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpSendPanicReply(void *p, void *details, int n) {
  printf("panic %.*s\n", n, (char *)details);
  char body[] = "error happened in filter\r\n";
  return envoyGoFilterHttpSendLocalReply(p, 500, body, (int)strlen(body), NULL, 0, 0, NULL, 0);
}

// Headers.

static CAPIStatus copy_map(map *m, void *strs, void *buf) {
  go_string *s = strs;
  char *at = buf;
  for (size_t i = 0; i < m->n; i++) {
    size_t len = strlen(m->e[i].name);
    *s++ = (go_string){at, (ptrdiff_t)len};
    memcpy(at, m->e[i].name, len);
    at += len;
    bytes *v = &m->e[i].value;
    s->n = (ptrdiff_t)v->len;
    if (v->len > 0) {
      s->p = at;
      memcpy(at, v->data, v->len);
      at += v->len;
    }
    s++;
  }
  return CAPIOK;
}

static void run_set(task *t, stream *st) {
  map *m = st == NULL ? NULL : (map *)t->rc_out;
  if (m == NULL) {
    return;
  }
  if (t->number != HeaderAdd) {
    map_remove(m, t->a.data, t->a.len);
  }
  if (t->number != -1) {
    map_add(m, t->a.data, t->a.len, t->b.data, t->b.len);
  }
}

static bool is_map_of(const stream *st, const map *m) {
  return m == &st->request_headers || m == &st->response_headers || m == &st->request_trailers ||
         m == &st->response_trailers;
}

// edit sets, adds to or (action -1) removes a name of a map that Go may touch.
static CAPIStatus edit(state *s, bool trailers, void *key, int key_len, void *value, int value_len, int action) {
  CAPIStatus rc;
  stream *st = enter_state(s, &rc);
  if (st == NULL) {
    return rc;
  }
  map *m = trailers ? s->trailers : s->headers;
  if (m == NULL || !is_map_of(st, m)) {
    return leave(CAPIInvalidPhase);
  }
  task *t = task_new(st->req, s, run_set);
  t->rc_out = (int *)m;
  t->number = action;
  put(&t->a, key, (size_t)key_len);
  put(&t->b, value, (size_t)value_len);
  return do_or_post(st, t);
}

CAPIStatus envoyGoFilterHttpGetHeader(void *p, void *key, int n, uint64_t *data, int *len) {
  CAPIStatus rc;
  state *s = p;
  stream *st = enter_state(s, &rc);
  if (st == NULL) {
    return rc;
  }
  if (s->headers == NULL) {
    return leave(CAPIInvalidPhase);
  }
  entry *e = map_get(s->headers, key, (size_t)n);
  if (e != NULL) {
    *data = (uint64_t)(uintptr_t)e->value.data;
    *len = (int)e->value.len;
  }
  return leave(CAPIOK);
}

static CAPIStatus copy(state *s, bool trailers, void *strs, void *buf) {
  CAPIStatus rc;
  if (enter_state(s, &rc) == NULL) {
    return rc;
  }
  map *m = trailers ? s->trailers : s->headers;
  return leave(m == NULL ? CAPIInvalidPhase : copy_map(m, strs, buf));
}

CAPIStatus envoyGoFilterHttpCopyHeaders(void *s, void *strs, void *buf) { return copy(s, false, strs, buf); }
CAPIStatus envoyGoFilterHttpCopyTrailers(void *s, void *strs, void *buf) { return copy(s, true, strs, buf); }

CAPIStatus envoyGoFilterHttpSetHeaderHelper(void *s, void *key, int n, void *value, int len, headerAction action) {
  return edit(s, false, key, n, value, len, (int)action);
}
CAPIStatus envoyGoFilterHttpSetTrailer(void *s, void *key, int n, void *value, int len, headerAction action) {
  return edit(s, true, key, n, value, len, (int)action);
}
CAPIStatus envoyGoFilterHttpRemoveHeader(void *s, void *key, int n) { return edit(s, false, key, n, NULL, 0, -1); }
CAPIStatus envoyGoFilterHttpRemoveTrailer(void *s, void *key, int n) { return edit(s, true, key, n, NULL, 0, -1); }

// Bodies.

// enter_buffer is enter_state for a buffer that Go must hold.
static stream *enter_buffer(state *s, uint64_t buffer, CAPIStatus *rc) {
  stream *st = enter_state(s, rc);
  if (st == NULL) {
    return NULL;
  }
  for (bytes *b = s->given; b != NULL; b = b->next) {
    if ((uint64_t)(uintptr_t)b == buffer) {
      return st;
    }
  }
  *rc = leave(CAPIInvalidPhase);
  return NULL;
}

CAPIStatus envoyGoFilterHttpGetBuffer(void *s, uint64_t buffer, void *value) {
  CAPIStatus rc;
  if (enter_buffer(s, buffer, &rc) == NULL) {
    return rc;
  }
  bytes *b = (bytes *)(uintptr_t)buffer;
  memcpy(value, b->data, b->len);
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpDrainBuffer(void *s, uint64_t buffer, uint64_t n) {
  CAPIStatus rc;
  if (enter_buffer(s, buffer, &rc) == NULL) {
    return rc;
  }
  bytes *b = (bytes *)(uintptr_t)buffer, rest = {0};
  put(&rest, b->data + n, b->len - n);
  wipe(b);
  take(b, &rest);
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpSetBufferHelper(void *s, uint64_t buffer, void *data, int n, bufferAction action) {
  CAPIStatus rc;
  if (enter_buffer(s, buffer, &rc) == NULL) {
    return rc;
  }
  bytes *b = (bytes *)(uintptr_t)buffer, before = {0};
  if (action != Append) {
    take(&before, b);
  }
  put(b, data, (size_t)n);
  if (action == Prepend) {
    take(b, &before);
  }
  wipe(&before);
  return leave(CAPIOK);
}

static void run_add_data(task *t, stream *st) {
  if (st != NULL) {
    take(t->s->p.state == ProcessingTrailer ? &t->s->passed : &t->s->held, &t->a);
    t->s->go_end_stream = false;
  }
}

CAPIStatus envoyGoFilterHttpAddData(void *p, void *data, int n, bool streaming) {
  (void)streaming;
  CAPIStatus rc;
  state *s = p;
  if (s->p.state == ProcessingData) {
    return CAPIInvalidPhase;
  }
  stream *st = enter_state(s, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(st->req, s, run_add_data);
  put(&t->a, data, (size_t)n);
  return do_or_post(st, t);
}

static void run_inject(task *t, stream *st) {
  if (st != NULL) {
    take(&t->s->passed, &t->a);
  }
}

CAPIStatus envoyGoFilterHttpInjectData(void *p, void *data, int n) {
  CAPIStatus rc;
  state *s = p;
  stream *st = enter_state(s, &rc);
  if (st == NULL) {
    return rc;
  }
  if (s->p.state != ProcessingData) {
    return leave(CAPIInvalidPhase);
  }
  if (on_worker(st)) {
    return leave(CAPIInvalidScene);
  }
  task *t = task_new(st->req, s, run_inject);
  put(&t->a, data, (size_t)n);
  task_post(t);
  return leave(CAPIOK);
}

// Of the stream.

static void run_override(task *t, stream *st) {
  if (st != NULL) {
    wipe(&st->override);
    take(&st->override, &t->a);
  }
}

CAPIStatus envoyGoFilterHttpSetUpstreamOverrideHost(void *p, void *host, int n, bool strict) {
  (void)strict;
  CAPIStatus rc;
  state *s = p;
  stream *st = enter_state(s, &rc);
  if (st == NULL) {
    return rc;
  }
  if (s->p.is_encoding) {
    return leave(CAPIInvalidPhase);
  }
  if (n == 0 || strspn(host, "0123456789.:[]abcdef") < (size_t)n) {
    return leave(CAPIInvalidIPAddress);
  }
  task *t = task_new(st->req, s, run_override);
  put(&t->a, host, (size_t)n);
  return do_or_post(st, t);
}

static void run_clear(task *t, stream *st) {
  if (st != NULL) {
    st->cleared++;
    st->on = t->number != 0 ? route_select(&st->request_headers) : NULL;
  }
}

CAPIStatus envoyGoFilterHttpClearRouteCache(void *r, bool refresh) {
  CAPIStatus rc;
  stream *st = enter(r, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(r, NULL, run_clear);
  t->number = refresh;
  return do_or_post(st, t);
}

CAPIStatus envoyGoFilterHttpSetDrainConnectionUponCompletion(void *r) {
  CAPIStatus rc;
  return enter(r, &rc) == NULL ? rc : leave(CAPIOK);
}

// text keeps what a read returns until the next one.
static CAPIStatus text(request *r, const void *data, size_t n, uint64_t *out, int *len) {
  wipe(&r->text);
  put(&r->text, data, n);
  *out = (uint64_t)(uintptr_t)r->text.data;
  *len = (int)r->text.len;
  return CAPIOK;
}

CAPIStatus envoyGoFilterHttpGetStringValue(void *p, int id, uint64_t *data, int *len) {
  CAPIStatus rc;
  stream *st = enter(p, &rc);
  if (st == NULL) {
    return rc;
  }
  if (id == 1 && st->on != NULL) {
    return leave(text(p, st->on->name.data, st->on->name.len, data, len));
  }
  const char *v = id == 1 ? "" : id == 7 ? "127.0.0.1:80" : id == 8 ? st->address : NULL;
  return leave(v == NULL ? CAPIValueNotFound : text(p, v, strlen(v), data, len));
}

CAPIStatus envoyGoFilterHttpGetIntegerValue(void *r, int id, uint64_t *value) {
  CAPIStatus rc;
  if (enter(r, &rc) == NULL) {
    return rc;
  }
  *value = 1; // HTTP/1.1; nothing else is known
  return leave(id == 3 ? CAPIOK : CAPIValueNotFound);
}

static void run_metadata(task *t, stream *st) {
  if (st != NULL) {
    map_remove(&st->metadata, t->a.data, t->a.len);
    map_add(&st->metadata, t->a.data, t->a.len, t->b.data, t->b.len);
  }
}

// The value is a serialized google.protobuf.Value; strings (field 3) shorter than 16 KiB are understood.
CAPIStatus envoyGoFilterHttpSetDynamicMetadata(void *r, void *name, int name_len, void *key, int key_len, void *buf,
                                               int n) {
  CAPIStatus rc;
  stream *st = enter(r, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(r, NULL, run_metadata);
  put(&t->a, name, (size_t)name_len);
  put(&t->a, ":", 1);
  put(&t->a, key, (size_t)key_len);
  const unsigned char *b = buf;
  if (n >= 2 && b[0] == 0x1a && b[1] < 128) {
    put(&t->b, b + 2, b[1]);
  } else if (n >= 3 && b[0] == 0x1a && b[2] < 128) {
    put(&t->b, b + 3, (size_t)(b[1] & 127) | (size_t)b[2] << 7);
  } else {
    put(&t->b, "?", 1);
  }
  return do_or_post(st, t);
}

// What is read of a stream elsewhere than on its worker is read there, and waited for.
static void run_read(task *t, stream *st) {
  if (st == NULL) {
    return; // destroying the stream has woken the reader
  }
  entry *e = map_get(&st->filter_state, t->a.data, t->a.len);
  if (t->rc_out != NULL) {
    *t->rc_out = e == NULL ? CAPIValueNotFound : CAPIOK;
  }
  if (e != NULL) {
    text(t->req, e->value.data, e->value.len, t->data_out, t->len_out);
  } else if (t->number == -1) {
    *t->len_out = -1;
  }
  if (t->grpc != 0) {
    lib.sema_dec(&t->req->r);
  }
}

static CAPIStatus read_with(void (*run)(task *, stream *), request *r, void *key, int n, int absent, uint64_t *data,
                            int *len, int *rc_out) {
  CAPIStatus rc;
  stream *st = enter(r, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(r, NULL, run);
  int own = CAPIOK;
  bool here = on_worker(st);
  put(&t->a, key, (size_t)n);
  t->number = absent;
  t->data_out = data;
  t->len_out = len;
  t->rc_out = rc_out != NULL && here ? &own : rc_out;
  t->grpc = !here;
  rc = do_or_post(st, t);
  return here ? (CAPIStatus)own : CAPIYield;
}

static CAPIStatus read(request *r, void *key, int n, int absent, uint64_t *data, int *len, int *rc_out) {
  return read_with(run_read, r, key, n, absent, data, len, rc_out);
}

CAPIStatus envoyGoFilterHttpGetDynamicMetadata(void *r, void *name, int n, uint64_t *data, int *len) {
  return read(r, name, n, 0, data, len, NULL); // never kept there: always empty
}
CAPIStatus envoyGoFilterHttpGetStringFilterState(void *r, void *key, int n, uint64_t *data, int *len) {
  return read(r, key, n, 0, data, len, NULL);
}

// Of properties there is only the configuration in the route's metadata.
static void run_property(task *t, stream *st) {
  static const char key[] = "xds.route_metadata.filter_metadata.mizzen.config";
  bool found = st != NULL && st->on != NULL && st->on->config.len > 0 && t->a.len == sizeof key - 1 &&
               memcmp(t->a.data, key, sizeof key - 1) == 0;
  *t->rc_out = found ? CAPIOK : CAPIValueNotFound;
  if (found) {
    text(t->req, st->on->config.data, st->on->config.len, t->data_out, t->len_out);
  }
  if (t->grpc != 0 && st != NULL) {
    lib.sema_dec(&t->req->r);
  }
}

CAPIStatus envoyGoFilterHttpGetStringProperty(void *r, void *key, int n, uint64_t *data, int *len, int *rc_out) {
  return read_with(run_property, r, key, n, 0, data, len, rc_out);
}
CAPIStatus envoyGoFilterHttpGetStringSecret(void *r, void *key, int n, uint64_t *data, int *len) {
  return read(r, key, n, -1, data, len, NULL);
}

static void run_filter_state(task *t, stream *st) {
  if (st != NULL) {
    map_remove(&st->filter_state, t->a.data, t->a.len);
    map_add(&st->filter_state, t->a.data, t->a.len, t->b.data, t->b.len);
  }
}

CAPIStatus envoyGoFilterHttpSetStringFilterState(void *r, void *key, int n, void *value, int len, int type, int span,
                                                 int sharing) {
  (void)type, (void)span, (void)sharing;
  CAPIStatus rc;
  stream *st = enter(r, &rc);
  if (st == NULL) {
    return rc;
  }
  task *t = task_new(r, NULL, run_filter_state);
  put(&t->a, key, (size_t)n);
  put(&t->b, value, (size_t)len);
  return do_or_post(st, t);
}

void envoyGoFilterHttpFinalize(void *r, int reason) {
  (void)reason;
  host_lock();
  request_release(r);
  host_unlock();
}

void envoyGoFilterLog(uint32_t level, void *message, int n) {
  const char *first = memchr(message, '\n', (size_t)n); // a stack trace is for eyes, not for tests
  printf("log %u %.*s\n", level, first == NULL ? n : (int)(first - (char *)message), (char *)message);
}

uint32_t envoyGoFilterLogLevel(void) { return 2; }

// Metrics: by name, shared by all configurations, as in Envoy.

enum { max_metrics = 8192 };
static struct {
  char *name;
  uint32_t type;
  int64_t value;
} metrics[max_metrics];
static uint32_t metric_count;

CAPIStatus envoyGoFilterHttpDefineMetric(void *c, uint32_t type, void *name, int n, uint32_t *id) {
  host_lock();
  if (((config *)c)->gone) {
    return leave(CAPIFilterIsGone);
  }
  uint32_t i = 0;
  while (i < metric_count && (strlen(metrics[i].name) != (size_t)n || memcmp(metrics[i].name, name, (size_t)n) != 0)) {
    i++;
  }
  if (i == metric_count) {
    if (i == max_metrics) {
      return leave(CAPIInternalFailure);
    }
    metrics[i].name = must(strndup(name, (size_t)n));
    metrics[i].type = type;
    metric_count++;
  }
  *id = i;
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpIncrementMetric(void *c, uint32_t id, int64_t n) {
  host_lock();
  if (((config *)c)->gone) {
    return leave(CAPIFilterIsGone);
  }
  metrics[id].value += n;
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpGetMetric(void *c, uint32_t id, uint64_t *value) {
  (void)c;
  host_lock();
  *value = (uint64_t)metrics[id].value;
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpRecordMetric(void *c, uint32_t id, uint64_t value) {
  (void)c;
  host_lock();
  metrics[id].value = (int64_t)value;
  return leave(CAPIOK);
}

void metrics_print(void) {
  host_lock();
  for (uint32_t i = 0; i < metric_count; i++) {
    printf("metric %s %lld\n", metrics[i].name, (long long)metrics[i].value);
  }
  host_unlock();
}

// A listener's configuration is freed when Go's garbage collector finalizes it.
void envoyGoConfigHttpFinalize(void *c) {
  config *cfg = c;
  wipe(&cfg->text);
  free(cfg);
}
