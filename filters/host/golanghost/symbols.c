// The symbols that a contrib golang library expects of its host. Go calls them from any thread. On the stream's worker
// they act at once; from elsewhere what touches Envoy is posted to the worker, in order.
#include "golanghost.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *p;
  ptrdiff_t n;
} go_string;

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
