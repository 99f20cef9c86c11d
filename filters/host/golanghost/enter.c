// Entering a stream from any thread of Go's, and getting to its worker.
#include "golanghost.h"

#include <stdlib.h>

// enter locks a stream that Go may act on.
bool enter(request *r, CAPIStatus *rc) {
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

request *enter_state(state *s, CAPIStatus *rc) {
  if (!in_go(s)) {
    *rc = CAPINotInGo;
    return NULL;
  }
  request *r = (request *)s->p.req;
  return enter(r, rc) ? r : NULL;
}

CAPIStatus leave(request *r, CAPIStatus rc) {
  pthread_mutex_unlock(&r->mu);
  return rc;
}

task *task_new(void (*run)(request *, task *)) {
  task *t = must(calloc(1, sizeof *t));
  t->run = run;
  return t;
}

// post queues t for the worker. With the lock held.
void post(request *r, task *t) {
  if (r->last != NULL) {
    r->last->next = t;
  } else {
    r->first = t;
  }
  r->last = t;
  envoy_dynamic_module_callback_http_filter_scheduler_commit(r->scheduler, 0);
}

bool on_worker(const request *r) { return pthread_equal(r->worker, pthread_self()); }

// do_or_post runs t now on the worker, and posts it from elsewhere. Entered with the lock held.
CAPIStatus do_or_post(request *r, task *t) {
  if (!on_worker(r)) {
    post(r, t);
    return leave(r, CAPIOK);
  }
  leave(r, CAPIOK);
  t->run(r, t);
  task_free(t);
  return CAPIOK;
}
