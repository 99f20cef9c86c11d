// Entering a stream from any thread of Go's, and getting to its worker.
#include "harness.h"

#include <stdlib.h>

// enter finds the stream of a request, with the lock held if it returns one.
stream *enter(request *r, CAPIStatus *rc) {
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

stream *enter_state(state *s, CAPIStatus *rc) {
  if (!in_go(s)) {
    *rc = CAPINotInGo;
    return NULL;
  }
  return enter((request *)s->p.req, rc);
}

CAPIStatus leave(CAPIStatus rc) {
  host_unlock();
  return rc;
}

bool on_worker(const stream *st) { return pthread_equal(st->w->thread, pthread_self()); }

// do_or_post runs t now if the caller is on the stream's worker, and posts it otherwise. Entered with the lock held.
CAPIStatus do_or_post(stream *st, task *t) {
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
