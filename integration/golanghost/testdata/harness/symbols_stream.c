// Host symbols that read and write what belongs to the whole stream, and the log.
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

// A listener's configuration is freed when Go's garbage collector finalizes it.
void envoyGoConfigHttpFinalize(void *c) {
  config *cfg = c;
  wipe(&cfg->text);
  free(cfg);
}
