#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

library lib;
int live_requests;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void host_lock(void) { pthread_mutex_lock(&lock); }
void host_unlock(void) { pthread_mutex_unlock(&lock); }

static int phase(const state *s) { return __atomic_load_n(&s->p.state, __ATOMIC_ACQUIRE); }
static void set_phase(state *s, int phase) { __atomic_store_n(&s->p.state, phase, __ATOMIC_RELEASE); }

bool in_go(const state *s) {
  int p = phase(s);
  return p == ProcessingHeader || p == ProcessingData || p == ProcessingTrailer ||
         s->p.req->is_golang_processing_log != 0;
}

stream *stream_open(config *cfg, worker *w, int id) {
  stream *st = must(calloc(1, sizeof *st));
  request *r = must(calloc(1, sizeof *r));
  st->id = id;
  st->w = w;
  st->cfg = cfg;
  st->req = r;
  st->started = now_ms();
  snprintf(st->address, sizeof st->address, "192.0.2.7:4711");
  r->stream = st;
  r->refs = 2; // the stream's and Go's
  r->r.plugin_name = (Cstring){"mizzen", 6};
  r->r.configId = cfg->id;
  r->r.worker_id = w->id;
  r->decode.p.req = r->encode.p.req = &r->r;
  r->encode.p.is_encoding = 1;
  host_lock();
  live_requests++;
  host_unlock();
  return st;
}

static void drop_buffers(state *s) {
  while (s->given != NULL) {
    bytes *b = s->given;
    s->given = b->next;
    wipe(b);
    free(b);
  }
}

void request_release(request *r) {
  if (--r->refs > 0) {
    return;
  }
  live_requests--;
  drop_buffers(&r->decode);
  drop_buffers(&r->encode);
  bytes *owned[] = {&r->text, &r->decode.held, &r->decode.passed, &r->encode.held, &r->encode.passed};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
    wipe(owned[i]);
  }
  free(r);
}

// Headers.

// handle_headers takes in what Go returned for headers, and tells whether they go on.
static bool handle_headers(state *s, int status) {
  switch (status) {
  case Continue:
    set_phase(s, s->go_end_stream ? Done : WaitingData);
    return true;
  case StopAndBuffer:
    set_phase(s, WaitingAllData);
    break;
  case StopAndBufferWatermark:
    set_phase(s, WaitingData);
    break;
  }
  return false;
}

static map *headers_of(stream *st, state *s) {
  return s->p.is_encoding ? &st->response_headers : &st->request_headers;
}

void stream_headers(stream *st, state *s, bool end) {
  map *m = headers_of(st, s);
  s->end_stream = s->go_end_stream = end;
  s->headers = m;
  set_phase(s, ProcessingHeader);
  if (handle_headers(s, (int)lib.on_header(&s->p, end, m->n, map_size(m)))) {
    s->headers = NULL;
    s->passed_headers = true;
    s->passed_end |= end;
  }
}

// Data.

static void pass_given(state *s) {
  for (bytes *b = s->given; b != NULL; b = b->next) {
    put(&s->passed, b->data, b->len);
  }
  drop_buffers(s);
}

static void drop_latest(state *s) {
  bytes **at = &s->given;
  while ((*at)->next != NULL) {
    at = &(*at)->next;
  }
  wipe(*at);
  free(*at);
  *at = NULL;
}

static bool handle_data(state *s, int status) {
  bool done = false;
  switch (status) {
  case Running:
  case LocalReply:
    return false;
  case Continue:
    set_phase(s, s->go_end_stream ? Done : WaitingData);
    done = true;
    break;
  case StopAndBuffer:
    set_phase(s, WaitingAllData);
    break;
  case StopNoBuffer:
    drop_latest(s);
    // falls through
  case StopAndBufferWatermark:
    set_phase(s, WaitingData);
    break;
  }
  if (s->trailers != NULL && s->held.len == 0) {
    set_phase(s, WaitingTrailer);
  }
  return done;
}

// give_data hands the bytes of b to Go.
static bool give_data(state *s, bytes *b, bool end) {
  set_phase(s, ProcessingData);
  s->go_end_stream = end;
  bytes *given = must(calloc(1, sizeof *given)), **at = &s->given;
  take(given, b);
  while (*at != NULL) {
    at = &(*at)->next;
  }
  *at = given;
  return handle_data(s, (int)lib.on_data(&s->p, end, (uint64_t)(uintptr_t)given, given->len));
}

static void pass_data(state *s) {
  pass_given(s);
  s->passed_end |= phase(s) == Done;
}

void stream_data(stream *st, state *s, const char *data, size_t n, bool end) {
  (void)st;
  s->end_stream = end;
  bytes b = {0};
  put(&b, data, n);
  switch (phase(s)) {
  case WaitingData:
    if (give_data(s, &b, end)) {
      pass_data(s);
    }
    break;
  case WaitingAllData:
    take(&s->held, &b);
    if (end && give_data(s, &s->held, end)) {
      pass_data(s);
    }
    break;
  default: // Go is busy, or the stream is answered
    take(&s->held, &b);
  }
  wipe(&b);
}

// Trailers.

static bool give_trailers(state *s) {
  set_phase(s, ProcessingTrailer);
  if (lib.on_header(&s->p, 1, s->trailers->n, map_size(s->trailers)) != Continue) {
    return false;
  }
  set_phase(s, Done);
  s->trailers = NULL;
  s->passed_trailers = s->passed_end = true;
  return true;
}

void stream_trailers(stream *st, state *s) {
  s->trailers = s->p.is_encoding ? &st->response_trailers : &st->request_trailers;
  switch (phase(s)) {
  case WaitingTrailer:
  case WaitingData:
    give_trailers(s);
    break;
  case WaitingAllData:
    if (s->held.len > 0) {
      if (give_data(s, &s->held, false) || phase(s) == WaitingTrailer) {
        pass_given(s);
        give_trailers(s);
      }
    } else {
      pass_given(s);
      give_trailers(s);
    }
    break;
  }
}

// stream_continue is Continue from Go (Filter::continueStatusInternal).
void stream_continue(stream *st, state *s, int status) {
  bool done = false;
  switch (phase(s)) {
  case ProcessingHeader:
    done = handle_headers(s, status);
    if (done) {
      s->headers = NULL;
      s->passed_headers = true;
      s->passed_end |= s->go_end_stream;
    }
    break;
  case ProcessingData:
    done = handle_data(s, status);
    if (done) {
      pass_data(s);
    }
    break;
  case ProcessingTrailer:
    pass_given(s);
    set_phase(s, Done);
    s->trailers = NULL;
    s->passed_trailers = s->passed_end = true;
    return;
  default:
    fprintf(stderr, "stream %d: continued in state %d\n", st->id, phase(s));
    abort();
  }
  int p = phase(s);
  if ((p == WaitingData && (s->held.len > 0 || s->end_stream)) || (p == WaitingAllData && s->end_stream)) {
    if (!give_data(s, &s->held, s->end_stream)) {
      return;
    }
    pass_data(s);
  }
  if (phase(s) == WaitingTrailer && s->trailers != NULL) {
    give_trailers(s);
  } else if (phase(s) == WaitingData && s->trailers != NULL) {
    give_trailers(s);
  }
}

static bool is_grpc(stream *st) {
  entry *e = map_get(&st->request_headers, "content-type", 12);
  return e != NULL && e->value.len >= 16 && memcmp(e->value.data, "application/grpc", 16) == 0 &&
         (e->value.len == 16 || e->value.data[16] == '+' || e->value.data[16] == ';');
}

static void add_number(map *m, const char *name, long long n) {
  char text[24];
  int len = snprintf(text, sizeof text, "%lld", n);
  map_add(m, name, strlen(name), text, (size_t)len);
}

// stream_reply is a local reply (FilterManager::sendLocalReply): through the filter's encoding side if no response has
// come yet, past it if one has come and not gone on, and a reset if it has.
void stream_reply(stream *st, state *s, int status, bytes *body, map *headers, long long grpc, bytes *details) {
  state *out = &st->req->encode;
  drop_buffers(s);
  wipe(&s->held);
  bool fresh = !st->answered;
  if (out->passed_headers) {
    put(&st->details, "reset", 5);
    return;
  }
  map_wipe(&st->response_headers);
  bool g = is_grpc(st);
  add_number(&st->response_headers, ":status", g ? 200 : status);
  for (size_t i = 0; i < headers->n; i++) {
    map_add(&st->response_headers, headers->e[i].name, strlen(headers->e[i].name), headers->e[i].value.data,
            headers->e[i].value.len);
  }
  if (g) {
    map_add(&st->response_headers, "content-type", 12, "application/grpc", 16);
    add_number(&st->response_headers, "grpc-status", grpc);
    map_add(&st->response_headers, "grpc-message", 12, body->data, body->len);
    wipe(body);
  }
  take(&st->details, details);
  st->answered = true;
  if (!fresh) {
    st->direct = out->passed_headers = out->passed_end = true;
    set_phase(out, Done);
    out->headers = NULL;
    take(&out->passed, body);
    return;
  }
  stream_headers(st, out, body->len == 0);
  if (body->len > 0 && !st->direct) {
    stream_data(st, out, body->data, body->len, true);
  }
}

// The end.

void stream_log(stream *st, int type) {
  request *r = st->req;
  map *m[] = {&st->request_headers, &st->request_trailers, &st->response_headers, &st->response_trailers};
  r->decode.headers = m[0];
  r->decode.trailers = m[1];
  r->encode.headers = m[2];
  r->encode.trailers = m[3];
  r->r.is_golang_processing_log = 1;
  lib.on_log(&r->r, (uint64_t)type, &r->decode.p, &r->encode.p, m[0]->n, map_size(m[0]), m[1]->n, map_size(m[1]),
             m[2]->n, map_size(m[2]), m[3]->n, map_size(m[3]));
  r->r.is_golang_processing_log = 0;
}

void stream_complete(stream *st) {
  st->req->r.is_golang_processing_log = 1;
  lib.on_complete(&st->req->r);
  st->req->r.is_golang_processing_log = 0;
}

void stream_destroy(stream *st) {
  request *r = st->req;
  bool busy = in_go(&r->decode) || in_go(&r->encode);
  host_lock();
  st->destroyed = true;
  host_unlock();
  lib.on_destroy(&r->r, busy ? 1 : 0);
  host_lock();
  r->stream = NULL; // what Go or a task asks from here on finds the stream gone
  r->decode.headers = r->decode.trailers = r->encode.headers = r->encode.trailers = NULL;
  request_release(r);
  host_unlock();
  map *owned[] = {&st->request_headers, &st->request_trailers, &st->response_headers, &st->response_trailers,
                  &st->metadata, &st->filter_state};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
    map_wipe(owned[i]);
  }
  wipe(&st->details);
  wipe(&st->override);
  free(st);
}
