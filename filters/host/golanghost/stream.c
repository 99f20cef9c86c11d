// The state machine of one stream: what contrib's golang_filter.cc and processor_state.cc do, on the dynamic-module ABI.
// Everything here runs on the stream's worker.
#include "golanghost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The values of Envoy's FilterHeadersStatus, FilterDataStatus and FilterTrailersStatus, the same for both directions.
enum { HeadersGoOn = 0, HeadersStop = 1 };
enum { DataGoOn = 0, DataStopAndBuffer = 1, DataStopAndWatermark = 2, DataStopNoBuffer = 3 };
enum { TrailersGoOn = 0, TrailersStop = 1 };

static int phase(const state *s) { return __atomic_load_n(&s->p.state, __ATOMIC_ACQUIRE); }
static void set_phase(state *s, int phase) { __atomic_store_n(&s->p.state, phase, __ATOMIC_RELEASE); }

static bool busy(const state *s) {
  int p = phase(s);
  return p == ProcessingHeader || p == ProcessingData || p == ProcessingTrailer;
}

bool in_go(const state *s) { return busy(s) || s->p.req->is_golang_processing_log != 0; }

// Headers and trailers.

// copy takes a copy of one of Envoy's header maps.
static void copy(request *r, headers *h, envoy_dynamic_module_type_http_header_type type) {
  map fresh = {0};
  size_t n = envoy_dynamic_module_callback_http_get_headers_size(r->filter, type);
  if (n > 0) {
    envoy_dynamic_module_type_envoy_http_header *all = must(calloc(n, sizeof *all));
    if (envoy_dynamic_module_callback_http_get_headers(r->filter, type, all)) {
      for (size_t i = 0; i < n; i++) {
        map_add(&fresh, all[i].key_ptr, all[i].key_length, all[i].value_ptr, all[i].value_length);
      }
    }
    free(all);
  }
  pthread_mutex_lock(&r->mu);
  map before = h->m;
  *h = (headers){.m = fresh, .valid = true, .envoy = true, .type = type};
  pthread_mutex_unlock(&r->mu);
  map_wipe(&before);
}

static void invalidate(request *r, headers *h) {
  pthread_mutex_lock(&r->mu);
  h->valid = false;
  pthread_mutex_unlock(&r->mu);
}

static int call_headers(request *r, state *s, headers *h, int as, bool end) {
  set_phase(s, as);
  s->go_end_stream = end;
  return (int)r->cfg->lib->on_header(&s->p, end, h->m.n, map_size(&h->m));
}

// after_headers takes in what Go returned for headers; true: they go on.
static bool after_headers(request *r, state *s, int status) {
  switch (status) {
  case Continue:
    set_phase(s, s->go_end_stream ? Done : WaitingData);
    invalidate(r, &s->headers);
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

int hook_headers(request *r, state *s, bool end) {
  s->end_stream = end;
  copy(r, &s->headers, s->p.is_encoding ? envoy_dynamic_module_type_http_header_type_ResponseHeader
                                        : envoy_dynamic_module_type_http_header_type_RequestHeader);
  int status = call_headers(r, s, &s->headers, ProcessingHeader, end);
  return after_headers(r, s, status) ? HeadersGoOn : HeadersStop;
}

// Data. Go works on copies: what it was given goes back to Envoy when it lets go of it. What comes meanwhile stays in
// Envoy's buffer, with its watermarks.

static envoy_dynamic_module_type_http_body_type received(const state *s) {
  return s->p.is_encoding ? envoy_dynamic_module_type_http_body_type_ReceivedResponseBody
                          : envoy_dynamic_module_type_http_body_type_ReceivedRequestBody;
}

static envoy_dynamic_module_type_http_body_type buffered(const state *s) {
  return s->p.is_encoding ? envoy_dynamic_module_type_http_body_type_BufferedResponseBody
                          : envoy_dynamic_module_type_http_body_type_BufferedRequestBody;
}

// draw moves a body of Envoy's to the end of b.
static void draw(request *r, bytes *b, envoy_dynamic_module_type_http_body_type type) {
  size_t n = envoy_dynamic_module_callback_http_get_body_chunks_size(r->filter, type);
  size_t size = envoy_dynamic_module_callback_http_get_body_size(r->filter, type);
  if (n == 0 || size == 0) {
    return;
  }
  envoy_dynamic_module_type_envoy_buffer *chunks = must(calloc(n, sizeof *chunks));
  if (envoy_dynamic_module_callback_http_get_body_chunks(r->filter, type, chunks)) {
    for (size_t i = 0; i < n; i++) {
      put(b, chunks[i].ptr, chunks[i].length);
    }
    envoy_dynamic_module_callback_http_drain_body(r->filter, type, size);
  }
  free(chunks);
}

void drop_given(state *s) {
  while (s->given != NULL) {
    bytes *b = s->given;
    s->given = b->next;
    wipe(b);
    free(b);
  }
}

// give_back appends what Go was given to a body of Envoy's.
static void give_back(request *r, state *s, envoy_dynamic_module_type_http_body_type type) {
  pthread_mutex_lock(&r->mu); // Go's threads look their buffers up in the list
  bytes *all = s->given;
  s->given = NULL;
  pthread_mutex_unlock(&r->mu);
  if (s->ready.len > 0) {
    envoy_dynamic_module_callback_http_append_body(r->filter, type, buffer(&s->ready));
    wipe(&s->ready);
  }
  while (all != NULL) {
    bytes *b = all;
    all = b->next;
    if (b->len > 0) {
      envoy_dynamic_module_callback_http_append_body(r->filter, type, buffer(b));
    }
    wipe(b);
    free(b);
  }
}

static int call_data(request *r, state *s, bytes *b, bool end) {
  pthread_mutex_lock(&r->mu);
  bytes **at = &s->given;
  while (*at != NULL) {
    at = &(*at)->next;
  }
  *at = b;
  pthread_mutex_unlock(&r->mu);
  set_phase(s, ProcessingData);
  s->go_end_stream = end;
  return (int)r->cfg->lib->on_data(&s->p, end, (uint64_t)(uintptr_t)b, b->len);
}

// after_data takes in what Go returned for data; true: it goes on.
static bool after_data(request *r, state *s, int status) {
  switch (status) {
  case Continue:
    set_phase(s, s->go_end_stream ? Done : WaitingData);
    return true;
  case StopAndBuffer:
    set_phase(s, WaitingAllData);
    break;
  case StopNoBuffer:
    pthread_mutex_lock(&r->mu);
    drop_given(s);
    pthread_mutex_unlock(&r->mu);
    // falls through
  case StopAndBufferWatermark:
    set_phase(s, WaitingData);
    break;
  }
  return false;
}

// keep takes data that has come into our own hands if the stream's buffer is not ours alone: the status to answer.
static int keep(request *r, state *s, int otherwise) {
  if (!chain_shared(r)) {
    return otherwise;
  }
  draw(r, &s->held, received(s));
  return DataStopNoBuffer;
}

// kept moves what has waited to the end of b.
static void kept(request *r, state *s, bytes *b) {
  take(b, &s->held);
  if (!chain_shared(r)) {
    draw(r, b, buffered(s));
  }
}

bool holds_data(const state *s) {
  int p = phase(s);
  return p == ProcessingData || p == ProcessingTrailer || p == WaitingAllData || s->given != NULL || s->held.len > 0 ||
         s->ready.len > 0;
}

int hook_data(request *r, state *s, bool end) {
  s->end_stream |= end;
  s->deferred = false; // what comes now takes along what waits
  int p = phase(s);
  if (p == Done) {
    return DataGoOn;
  }
  if (busy(s)) {
    return keep(r, s, DataStopAndWatermark);
  }
  if (p == WaitingAllData && !end) {
    return keep(r, s, DataStopAndBuffer);
  }
  bytes *b = must(calloc(1, sizeof *b));
  if (p == WaitingAllData) {
    kept(r, s, b);
  }
  draw(r, b, received(s));
  int status = call_data(r, s, b, end);
  bool on = after_data(r, s, status);
  switch (status) {
  case Running:
  case LocalReply:
    return DataStopNoBuffer; // Envoy's buffer stays for what comes next
  }
  give_back(r, s, received(s));
  return on                                 ? DataGoOn
         : status == StopAndBuffer          ? keep(r, s, DataStopAndBuffer)
         : status == StopAndBufferWatermark ? keep(r, s, DataStopAndWatermark)
                                            : DataStopNoBuffer;
}

// call_trailers tells whether they go on.
static bool call_trailers(request *r, state *s) {
  copy(r, &s->trailers, s->p.is_encoding ? envoy_dynamic_module_type_http_header_type_ResponseTrailer
                                         : envoy_dynamic_module_type_http_header_type_RequestTrailer);
  if (call_headers(r, s, &s->trailers, ProcessingTrailer, true) != Continue) {
    return false;
  }
  set_phase(s, Done);
  invalidate(r, &s->trailers);
  return true;
}

int hook_trailers(request *r, state *s) {
  s->end_stream = s->seen_trailers = true;
  s->deferred = false;
  if (phase(s) == Done) {
    return TrailersGoOn;
  }
  if (busy(s)) {
    return TrailersStop;
  }
  if (phase(s) == WaitingAllData) {
    bytes *b = must(calloc(1, sizeof *b));
    kept(r, s, b);
    int status = call_data(r, s, b, false);
    after_data(r, s, status);
    if (busy(s)) {
      return TrailersStop;
    }
    give_back(r, s, buffered(s));
  }
  return call_trailers(r, s) ? TrailersGoOn : TrailersStop;
}

// Later.

// defer keeps what Go has let go of until the filters before this one have let go of theirs.
static void defer(request *r, state *s) {
  pthread_mutex_lock(&r->mu);
  for (bytes *b = s->given; b != NULL; b = b->next) {
    put(&s->ready, b->data, b->len);
  }
  drop_given(s);
  pthread_mutex_unlock(&r->mu);
  s->deferred = true;
}

// go_on sends on what Go has let go of.
void go_on(request *r, state *s) {
  if (chain_blocked(r, s->p.is_encoding)) {
    defer(r, s);
    return;
  }
  give_back(r, s, buffered(s));
  if (s->p.is_encoding) {
    envoy_dynamic_module_callback_http_filter_continue_encoding(r->filter);
  } else {
    envoy_dynamic_module_callback_http_filter_continue_decoding(r->filter);
  }
}

// catch_up gives Go what came while it was busy; true: all of it goes on.
static bool catch_up(request *r, state *s) {
  int p = phase(s);
  if (p == WaitingAllData && !s->end_stream) {
    return false;
  }
  bool more = s->held.len > 0 ||
              (!chain_shared(r) && envoy_dynamic_module_callback_http_get_body_size(r->filter, buffered(s)) > 0);
  if ((p == WaitingData || p == WaitingAllData) && (more || (s->end_stream && !s->seen_trailers))) {
    bytes *b = must(calloc(1, sizeof *b));
    kept(r, s, b);
    if (!after_data(r, s, call_data(r, s, b, s->end_stream && !s->seen_trailers))) {
      return false;
    }
  }
  p = phase(s);
  return !(s->seen_trailers && (p == WaitingData || p == WaitingAllData)) || call_trailers(r, s);
}

static void finish_reply(request *r);

void stream_continue(request *r, state *s, int status) {
  switch (phase(s)) {
  case ProcessingHeader:
    if (s->p.is_encoding && r->replying) {
      finish_reply(r);
      return;
    }
    if (!after_headers(r, s, status) && phase(s) == ProcessingHeader) {
      return;
    }
    break;
  case ProcessingData:
    if (!after_data(r, s, status)) {
      return;
    }
    break;
  case ProcessingTrailer:
    set_phase(s, Done);
    invalidate(r, &s->trailers);
    break;
  default:
    return; // the stream was answered meanwhile
  }
  if (phase(s) == Done || catch_up(r, s)) {
    request_retain(r); // going on may end the stream
    go_on(r, s);
    chain_wake(r, s->p.is_encoding);
    request_release(r);
  }
}

// Local replies. Envoy does not call a dynamic module back for its own replies, and contrib does: so Go's encoding side
// sees the reply here, before it is sent. (Its headers; a reply's body is not given to Go.)

static bool is_grpc(request *r) {
  entry *e = map_get(&r->decode.headers.m, "content-type", 12);
  return e != NULL && e->value.len >= 16 && memcmp(e->value.data, "application/grpc", 16) == 0 &&
         (e->value.len == 16 || e->value.data[16] == '+' || e->value.data[16] == ';');
}

static void add_number(map *m, const char *name, long long n) {
  char text[24];
  int len = snprintf(text, sizeof text, "%lld", n);
  map_add(m, name, strlen(name), text, (size_t)len);
}

static void finish_reply(request *r) {
  state *s = &r->encode;
  map *m = &s->headers.m;
  int status = r->reply_status;
  size_t n = 0;
  envoy_dynamic_module_type_module_http_header *list = must(calloc(m->n + 1, sizeof *list));
  for (size_t i = 0; i < m->n; i++) {
    bytes *v = &m->e[i].value;
    if (strcmp(m->e[i].name, ":status") == 0) {
      char text[4] = {0};
      memcpy(text, v->data, v->len < 3 ? v->len : 3);
      status = atoi(text);
    } else {
      list[n++] = (envoy_dynamic_module_type_module_http_header){m->e[i].name, strlen(m->e[i].name),
                                                                 v->data == NULL ? "" : v->data, v->len};
    }
  }
  r->replying = false;
  set_phase(s, Done);
  set_phase(&r->decode, Done);
  invalidate(r, &s->headers);
  envoy_dynamic_module_callback_http_send_response(r->filter, (uint32_t)status, list, n, buffer(&r->reply_body),
                                                   buffer(&r->reply_details));
  free(list);
}

void stream_reply(request *r, state *s, int status, bytes *body, map *from, long long grpc, bytes *details) {
  bool first = !r->answered;
  pthread_mutex_lock(&r->mu);
  drop_given(s);
  map *m = &r->encode.headers.m;
  map_wipe(m);
  r->encode.headers.valid = true;
  r->encode.headers.envoy = false;
  add_number(m, ":status", status);
  for (size_t i = 0; i < from->n; i++) {
    map_add(m, from->e[i].name, strlen(from->e[i].name), from->e[i].value.data, from->e[i].value.len);
  }
  if (is_grpc(r)) {
    add_number(m, "grpc-status", grpc);
  }
  pthread_mutex_unlock(&r->mu);
  wipe(&r->reply_body);
  wipe(&r->reply_details);
  take(&r->reply_body, body);
  take(&r->reply_details, details);
  r->reply_status = status;
  r->answered = true;
  if (first) {
    r->replying = true;
    int done = call_headers(r, &r->encode, &r->encode.headers, ProcessingHeader, r->reply_body.len == 0);
    if (done == Running || done == LocalReply) {
      return; // a task will tell
    }
  }
  finish_reply(r);
}

// stream_over tells Go that the stream is complete, and then logs it.
void stream_over(request *r) {
  const library *lib = r->cfg->lib;
  r->r.is_golang_processing_log = 1;
  lib->on_complete(&r->r);
  map *req = &r->decode.headers.m, *resp = &r->encode.headers.m;
  pthread_mutex_lock(&r->mu);
  r->decode.headers.valid = true;
  r->encode.headers.valid = resp->n > 0;
  pthread_mutex_unlock(&r->mu);
  enum { DownstreamEnd = 6 }; // api.AccessLogType
  lib->on_log(&r->r, DownstreamEnd, &r->decode.p, &r->encode.p, req->n, map_size(req), 0, 0, resp->n, map_size(resp), 0,
              0);
  r->r.is_golang_processing_log = 0;
}
