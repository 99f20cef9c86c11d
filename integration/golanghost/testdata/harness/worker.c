#define _GNU_SOURCE
#include "harness.h"

#include <stdlib.h>
#include <time.h>

double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

task *task_new(request *r, state *s, void (*run)(task *, stream *)) {
  task *t = must(calloc(1, sizeof *t));
  t->req = r;
  t->s = s;
  t->run = run;
  r->refs++;
  return t;
}

void task_post(task *t) {
  worker *w = t->req->stream->w;
  pthread_mutex_lock(&w->mu);
  if (w->last != NULL) {
    w->last->next = t;
  } else {
    w->first = t;
  }
  w->last = t;
  pthread_cond_signal(&w->more);
  pthread_mutex_unlock(&w->mu);
}

static task *next(worker *w, double until) {
  struct timespec limit = {.tv_sec = (time_t)(until / 1e3)};
  limit.tv_nsec = (long)((until - (double)limit.tv_sec * 1e3) * 1e6);
  pthread_mutex_lock(&w->mu);
  while (w->first == NULL && pthread_cond_timedwait(&w->more, &w->mu, &limit) == 0) {
  }
  task *t = w->first;
  if (t != NULL) {
    w->first = t->next;
    if (w->first == NULL) {
      w->last = NULL;
    }
  }
  pthread_mutex_unlock(&w->mu);
  return t;
}

bool worker_step(worker *w, double until) {
  task *t = next(w, until);
  if (t == NULL) {
    return false;
  }
  host_lock();
  stream *st = t->req->stream;
  if (st != NULL && st->destroyed) {
    st = NULL;
  }
  host_unlock();
  t->run(t, st);
  host_lock();
  request_release(t->req);
  host_unlock();
  wipe(&t->a);
  wipe(&t->b);
  map_wipe(&t->headers);
  free(t);
  return true;
}

// Read by the thread sanitizer. Go's runtime hands the memory that one thread mapped to another by means that the
// sanitizer does not see: the mapping is no race with the first write.
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:x_cgo_mmap\n"; }
