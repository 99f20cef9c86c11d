// The host symbols. Each takes the lock for as long as it runs: Go may call from any thread.
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *p;
  ptrdiff_t n;
} go_string;

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
