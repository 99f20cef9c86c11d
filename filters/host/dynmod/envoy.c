// The C half of the host: Envoy's event hooks. Most events of a stream end here. Go is entered at the request's headers
// with all of them gathered, and what it wants done comes back as one script; it is entered again only for what it
// asked for.
#include "callbacks.h"
#include "envoy.h"

#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

// spare_max bounds the streams that a worker keeps for reuse.
enum { spare_max = 256 };

// kept_max bounds the script that a stream keeps, in bytes.
enum { kept_max = 16 << 10 };

static __thread mz_worker worker;

// --- Streams ---

static mz_stream *take(void) {
  mz_stream *s = worker.free;
  if (s == NULL) {
    s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    s->worker = &worker;
  } else {
    worker.free = s->next;
    worker.spare--;
  }
  s->base = s->route = NULL;
  s->now.length = s->later.length = 0;
  s->gathered = MZ_NOTHING;
  s->depth = 0;
  s->grpc = -1;
  s->entered = s->response = s->end = s->replied = s->calling = s->ended = s->gone = false;
  return s;
}

// shrink bounds what a stream keeps from one exchange to the next.
static void shrink(mz_script *s) {
  if (s->capacity <= kept_max) return;
  free(s->at);
  *s = (mz_script){NULL, 0, 0};
}

static void give_back(mz_stream *s) {
  shrink(&s->now);
  shrink(&s->later);
  if (s->worker != &worker || worker.spare >= spare_max) {
    if (s->half != NULL) mzDrop(s->half);
    free(s->now.at);
    free(s->later.at);
    free(s);
    return;
  }
  s->next = worker.free;
  worker.free = s;
  worker.spare++;
}

// enter and leave bracket every call that may make Envoy destroy the stream: it stays until the last has returned.
static void enter(mz_stream *s) { s->depth++; }

static void leave(mz_stream *s) {
  if (--s->depth == 0 && s->gone) give_back(s);
}

// --- Scripts ---

void mz_grow(mz_script *s, size_t capacity) {
  unsigned char *p = realloc(s->at, capacity);
  if (p == NULL) abort();
  s->at = p;
  s->capacity = capacity;
}

// next reads a string of a script.
static mz_text next(const unsigned char **at) {
  uint32_t length;
  memcpy(&length, *at, sizeof length);
  mz_text t = {(const char *)*at + sizeof length, length};
  *at += sizeof length + length;
  return t;
}

static mz_header *pairs(const unsigned char **at, size_t count) {
  mz_header *h = malloc((count + 1) * sizeof *h);
  if (h == NULL) abort();
  for (size_t i = 0; i < count; i++) {
    h[i].name = next(at);
    h[i].value = next(at);
  }
  return h;
}

static void count(mz_stream *s, const mz_op *op, const unsigned char **at) {
  mz_text labels[8];
  for (uint32_t i = 0; i < op->texts; i++) {
    mz_text t = next(at);
    if (i < 8) labels[i] = t;
  }
  if (op->texts > 8) return; // Go refuses such a metric
  if (op->code == MZ_COUNT) {
    envoy_dynamic_module_callback_http_filter_increment_counter(s->envoy, op->id, labels, op->texts, (uint64_t)op->n);
  } else if (op->code == MZ_RAISE) {
    envoy_dynamic_module_callback_http_filter_increment_gauge(s->envoy, op->id, labels, op->texts, (uint64_t)op->n);
  } else {
    envoy_dynamic_module_callback_http_filter_decrement_gauge(s->envoy, op->id, labels, op->texts, (uint64_t)op->n);
  }
}

static void reply(mz_stream *s, const mz_op *op, const unsigned char **at) {
  mz_text details = next(at), body = next(at);
  size_t n = (op->texts - 2) / 2;
  mz_header *headers = pairs(at, n);
  s->replied = true;
  envoy_dynamic_module_callback_http_send_response(s->envoy, (uint32_t)op->n, headers, n, body, details);
  free(headers);
}

// reset ends the stream without an answer; an Envoy that cannot gets one.
static void reset(mz_stream *s, mz_text details) {
  s->replied = true;
  if (envoy_dynamic_module_callback_http_filter_reset_stream) {
    envoy_dynamic_module_callback_http_filter_reset_stream(s->envoy, MZ_LOCAL_RESET, details);
  } else {
    envoy_dynamic_module_callback_http_send_response(s->envoy, 503, NULL, 0, (mz_text){NULL, 0}, details);
  }
}

// play does what a script says and empties it. It may end the stream, but only as the last thing it does.
static void play(mz_stream *s, mz_script *script) {
  const unsigned char *at = script->at, *end = at + script->length;
  script->length = 0;
  mz_text a, b, c;
  while (at < end) {
    mz_op op;
    memcpy(&op, at, sizeof op);
    at += sizeof op;
    switch (op.code) {
    case MZ_SET:
      s->gathered = MZ_NOTHING;
      a = next(&at), b = next(&at);
      envoy_dynamic_module_callback_http_set_header(s->envoy, (int)op.id, a, b);
      break;
    case MZ_ADD:
      s->gathered = MZ_NOTHING;
      a = next(&at), b = next(&at);
      envoy_dynamic_module_callback_http_add_header(s->envoy, (int)op.id, a, b);
      break;
    case MZ_REMOVE:
      s->gathered = MZ_NOTHING;
      a = next(&at);
      envoy_dynamic_module_callback_http_set_header(s->envoy, (int)op.id, a, (mz_text){NULL, 0});
      break;
    case MZ_ANNOTATE:
      a = next(&at), b = next(&at), c = next(&at);
      envoy_dynamic_module_callback_http_set_dynamic_metadata_string(s->envoy, a, b, c);
      break;
    case MZ_FLAG:
      envoy_dynamic_module_callback_http_add_custom_flag(s->envoy, next(&at));
      break;
    case MZ_REPLY:
      reply(s, &op, &at);
      return;
    case MZ_RESET:
      reset(s, next(&at));
      return;
    default:
      count(s, &op, &at);
    }
  }
}

// --- What Go calls ---

// refresh fetches the configuration of the route: the one before may be gone.
static void refresh(mz_stream *s) {
  s->route = (mz_level *)envoy_dynamic_module_callback_get_most_specific_route_config(s->envoy);
}

void mz_gather(mz_stream *s, int kind) {
  mz_worker *w = &worker;
  size_t n = envoy_dynamic_module_callback_http_get_headers_size(s->envoy, kind);
  if (n > w->room) {
    mz_header *p = realloc(w->headers, 2 * n * sizeof *p);
    if (p == NULL) abort();
    w->headers = p;
    w->room = 2 * n;
  }
  if (n > 0 && !envoy_dynamic_module_callback_http_get_headers(s->envoy, kind, w->headers)) n = 0;
  s->headers = n;
  s->gathered = kind;
}

void mz_reroute(mz_stream *s) {
  play(s, &s->now);
  envoy_dynamic_module_callback_http_clear_route_cache(s->envoy);
  refresh(s);
}

mz_text mz_attribute(mz_stream *s, int id) {
  mz_text t = {NULL, 0};
  if (!envoy_dynamic_module_callback_http_filter_get_attribute_string(s->envoy, id, &t)) t.length = 0;
  return t;
}

mz_text mz_cluster(mz_stream *s) {
  mz_text t = {NULL, 0};
  if (!envoy_dynamic_module_callback_http_get_cluster_name(s->envoy, &t)) t.length = 0;
  return t;
}

// mz_span: a part of the span that Envoy's own tracer made for the stream; empty if there is none.
mz_text mz_span(mz_stream *s, int part) {
  mz_text t = {NULL, 0};
  void *span = NULL;
  if (envoy_dynamic_module_callback_http_get_active_span) span = envoy_dynamic_module_callback_http_get_active_span(s->envoy);
  if (span == NULL) return t;
  bool ok = part == MZ_TRACE_ID ? envoy_dynamic_module_callback_http_span_get_trace_id(span, &t)
                                : envoy_dynamic_module_callback_http_span_get_span_id(span, &t);
  if (!ok) t.length = 0;
  return t;
}

// mz_number: grpc-status of the trailers is known only to those who look at them as they pass.
bool mz_number(mz_stream *s, int id, uint64_t *n) {
  if (id == MZ_GRPC_STATUS && s->grpc >= 0) {
    *n = (uint64_t)s->grpc;
    return true;
  }
  return envoy_dynamic_module_callback_http_filter_get_attribute_int(s->envoy, id, n);
}

void *mz_alarm(mz_stream *s) { return envoy_dynamic_module_callback_http_filter_scheduler_new(s->envoy); }

void mz_ring(void *alarm, uint64_t id) {
  envoy_dynamic_module_callback_http_filter_scheduler_commit(alarm, id);
  mz_cancel(alarm);
}

void mz_cancel(void *alarm) { envoy_dynamic_module_callback_http_filter_scheduler_delete(alarm); }

// mz_call: texts are cluster, body, then names and values of headers. An answer that comes before it returns is
// ignored: Envoy then also says that it could not send.
int mz_call(mz_stream *s, void *texts, size_t length, uint32_t count, uint64_t timeout_ms) {
  (void)length;
  const unsigned char *at = texts;
  mz_text cluster = next(&at), body = next(&at);
  size_t n = (count - 2) / 2;
  mz_header *headers = pairs(&at, n);
  uint64_t id;
  s->calling = true;
  int res = envoy_dynamic_module_callback_http_filter_http_callout(s->envoy, &id, cluster, headers, n, body, timeout_ms);
  s->calling = false;
  free(headers);
  return res;
}

// The desk of a listener's configuration is its scheduler, which outlives it: a knock on the desk of a configuration
// that is gone does nothing.

void *mz_desk(void *config) { return envoy_dynamic_module_callback_http_filter_config_scheduler_new(config); }

void mz_knock(void *desk) { envoy_dynamic_module_callback_http_filter_config_scheduler_commit(desk, 0); }

void mz_clear(void *desk) { envoy_dynamic_module_callback_http_filter_config_scheduler_delete(desk); }

// posting: this thread is inside mz_post.
static __thread bool posting;

// mz_post is mz_call for a configuration, on the main thread.
int mz_post(void *config, void *texts, size_t length, uint32_t count, uint64_t timeout_ms, uint64_t *id) {
  (void)length;
  const unsigned char *at = texts;
  mz_text cluster = next(&at), body = next(&at);
  size_t n = (count - 2) / 2;
  mz_header *headers = pairs(&at, n);
  posting = true;
  int res = envoy_dynamic_module_callback_http_filter_config_http_callout(config, id, cluster, headers, n, body, timeout_ms);
  posting = false;
  free(headers);
  return res;
}

// mz_define: texts are the metric's name, then those of its labels.
int mz_define(void *config, bool gauge, void *texts, size_t length, uint32_t count, size_t *id) {
  (void)length;
  const unsigned char *at = texts;
  mz_text name = next(&at), labels[8];
  if (count > 9) return -1;
  for (uint32_t i = 1; i < count; i++) labels[i - 1] = next(&at);
  if (gauge) return envoy_dynamic_module_callback_http_filter_config_define_gauge(config, name, labels, count - 1, id);
  return envoy_dynamic_module_callback_http_filter_config_define_counter(config, name, labels, count - 1, id);
}

mz_level *mz_new_level(void *program, bool idle) {
  mz_level *l = calloc(1, sizeof *l);
  if (l == NULL) abort();
  l->program = program;
  l->idle = idle;
  return l;
}

void mz_log_error(void *text, size_t length) {
  envoy_dynamic_module_callback_log(MZ_ENVOY_ERROR, (mz_text){text, length});
}

// --- Envoy's event hooks: configuration ---

const char *envoy_dynamic_module_on_program_init(void) { return "v0.1.0"; }

void *envoy_dynamic_module_on_http_filter_config_new(void *config, mz_text name, mz_text raw) {
  return mzListener(config, name, raw);
}

void envoy_dynamic_module_on_http_filter_config_destroy(mz_level *l) {
  mzListenerGone(l->program);
  free(l);
}

void *envoy_dynamic_module_on_http_filter_per_route_config_new(mz_text name, mz_text raw) { return mzRoute(name, raw); }

void envoy_dynamic_module_on_http_filter_per_route_config_destroy(mz_level *l) {
  mzRouteGone(l->program);
  free(l);
}

// --- Envoy's event hooks: what policies send outside of exchanges, on the main thread ---

void envoy_dynamic_module_on_http_filter_config_scheduled(void *config, mz_level *l, uint64_t id) {
  (void)config, (void)id;
  mzPost(l->program);
}

void envoy_dynamic_module_on_http_filter_config_http_callout_done(void *config, mz_level *l, uint64_t id, int result,
                                                                  mz_header *h, size_t n, mz_text *chunks, size_t m) {
  (void)config;
  if (!posting) mzPosted(l->program, id, result, h, n, chunks, m);
}

// --- Envoy's event hooks: streams ---

void *envoy_dynamic_module_on_http_filter_new(mz_level *base, void *envoy) {
  mz_stream *s = take();
  s->envoy = envoy;
  s->base = base;
  return s;
}

int envoy_dynamic_module_on_http_filter_request_headers(void *envoy, mz_stream *s, bool end_of_stream) {
  (void)envoy, (void)end_of_stream;
  refresh(s);
  if (s->base->idle && (s->route == NULL || s->route->idle)) return MZ_ENVOY_CONTINUE;
  enter(s);
  s->entered = true;
  __atomic_add_fetch(&s->base->active, 1, __ATOMIC_RELAXED);
  mz_gather(s, MZ_REQUEST);
  int v = mzRequest(s);
  s->gathered = MZ_NOTHING;
  play(s, &s->now);
  leave(s);
  return v == MZ_STOP ? MZ_ENVOY_STOP_ALL : MZ_ENVOY_CONTINUE;
}

int envoy_dynamic_module_on_http_filter_response_headers(void *envoy, mz_stream *s, bool end_of_stream) {
  (void)envoy, (void)end_of_stream;
  if (s->replied) return MZ_ENVOY_CONTINUE;
  if (!s->response) {
    play(s, &s->later);
    return MZ_ENVOY_CONTINUE;
  }
  enter(s);
  int v = mzResponse(s);
  s->gathered = MZ_NOTHING;
  play(s, &s->now);
  leave(s);
  return v == MZ_STOP ? MZ_ENVOY_STOP_ALL : MZ_ENVOY_CONTINUE;
}

// act does what Go decided outside of a header hook.
static void act(mz_stream *s, int v) {
  s->gathered = MZ_NOTHING;
  play(s, &s->now);
  if (v == MZ_GO_ON) envoy_dynamic_module_callback_http_filter_continue_decoding(s->envoy);
  if (v == MZ_GO_ON_RESPONSE) envoy_dynamic_module_callback_http_filter_continue_encoding(s->envoy);
}

void envoy_dynamic_module_on_http_filter_scheduled(void *envoy, mz_stream *s, uint64_t id) {
  (void)envoy;
  if (s->ended) return;
  enter(s);
  refresh(s);
  act(s, mzResume(s, id));
  leave(s);
}

void envoy_dynamic_module_on_http_filter_http_callout_done(void *envoy, mz_stream *s, uint64_t id, int result,
                                                           mz_header *headers, size_t headers_size, mz_text *chunks,
                                                           size_t chunks_size) {
  (void)envoy, (void)id;
  if (s->calling || s->ended) return;
  enter(s);
  refresh(s);
  act(s, mzAnswer(s, result, headers, headers_size, chunks, chunks_size));
  leave(s);
}

int envoy_dynamic_module_on_http_filter_response_trailers(void *envoy, mz_stream *s) {
  (void)envoy;
  mz_text v = {NULL, 0};
  if (!s->end || !envoy_dynamic_module_callback_http_get_header(s->envoy, MZ_RESPONSE_TRAILERS, (mz_text){"grpc-status", 11}, &v, 0, NULL)) {
    return MZ_ENVOY_CONTINUE;
  }
  int n = 0;
  for (size_t i = 0; i < v.length; i++) {
    if (v.ptr[i] < '0' || v.ptr[i] > '9' || i == 4) return MZ_ENVOY_CONTINUE;
    n = 10 * n + v.ptr[i] - '0';
  }
  if (v.length > 0) s->grpc = n;
  return MZ_ENVOY_CONTINUE;
}

// end is the last moment in which policies may count.
static void end(mz_stream *s) {
  if (s->ended) return;
  s->ended = true;
  if (!s->entered) return;
  bool last = __atomic_sub_fetch(&s->base->active, 1, __ATOMIC_RELAXED) == 0;
  if (!s->end && !(last && __atomic_load_n(&s->base->dirty, __ATOMIC_RELAXED))) return;
  enter(s);
  mzEnd(s, last);
  play(s, &s->now);
  leave(s);
}

void envoy_dynamic_module_on_http_filter_stream_complete(void *envoy, mz_stream *s) {
  (void)envoy;
  end(s);
}

void envoy_dynamic_module_on_http_filter_destroy(mz_stream *s) {
  enter(s);
  end(s);
  s->gone = true;
  leave(s);
}

// Events in which no policy has a part.

int envoy_dynamic_module_on_http_filter_request_body(void *e, void *s, bool end) { return (void)e, (void)s, (void)end, MZ_ENVOY_CONTINUE; }
int envoy_dynamic_module_on_http_filter_request_trailers(void *e, void *s) { return (void)e, (void)s, MZ_ENVOY_CONTINUE; }
int envoy_dynamic_module_on_http_filter_response_body(void *e, void *s, bool end) { return (void)e, (void)s, (void)end, MZ_ENVOY_CONTINUE; }

int envoy_dynamic_module_on_http_filter_local_reply(void *e, void *s, uint32_t code, mz_text details, bool reset) {
  return (void)e, (void)s, (void)code, (void)details, (void)reset, MZ_ENVOY_CONTINUE;
}

void envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(void *e, void *s) { (void)e, (void)s; }
void envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(void *e, void *s) { (void)e, (void)s; }

void envoy_dynamic_module_on_http_filter_http_stream_headers(void *e, void *s, uint64_t id, mz_header *h, size_t n, bool end) {
  (void)e, (void)s, (void)id, (void)h, (void)n, (void)end;
}
void envoy_dynamic_module_on_http_filter_http_stream_data(void *e, void *s, uint64_t id, const mz_text *d, size_t n, bool end) {
  (void)e, (void)s, (void)id, (void)d, (void)n, (void)end;
}
void envoy_dynamic_module_on_http_filter_http_stream_trailers(void *e, void *s, uint64_t id, mz_header *t, size_t n) {
  (void)e, (void)s, (void)id, (void)t, (void)n;
}
void envoy_dynamic_module_on_http_filter_http_stream_complete(void *e, void *s, uint64_t id) { (void)e, (void)s, (void)id; }
void envoy_dynamic_module_on_http_filter_http_stream_reset(void *e, void *s, uint64_t id, int reason) {
  (void)e, (void)s, (void)id, (void)reason;
}
void envoy_dynamic_module_on_http_filter_config_http_stream_headers(void *e, void *c, uint64_t id, mz_header *h, size_t n, bool end) {
  (void)e, (void)c, (void)id, (void)h, (void)n, (void)end;
}
void envoy_dynamic_module_on_http_filter_config_http_stream_data(void *e, void *c, uint64_t id, const mz_text *d, size_t n, bool end) {
  (void)e, (void)c, (void)id, (void)d, (void)n, (void)end;
}
void envoy_dynamic_module_on_http_filter_config_http_stream_trailers(void *e, void *c, uint64_t id, mz_header *t, size_t n) {
  (void)e, (void)c, (void)id, (void)t, (void)n;
}
void envoy_dynamic_module_on_http_filter_config_http_stream_complete(void *e, void *c, uint64_t id) { (void)e, (void)c, (void)id; }
void envoy_dynamic_module_on_http_filter_config_http_stream_reset(void *e, void *c, uint64_t id, int reason) {
  (void)e, (void)c, (void)id, (void)reason;
}
