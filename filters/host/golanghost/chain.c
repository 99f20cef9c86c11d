// Several of our filters on one stream. Envoy's buffer of a stream, and its knowledge that the stream is complete, belong
// to the stream and not to a filter: one that continues sends on what another one keeps there, and tells the end before
// the body that another one has in its hands. So filters that share a stream know of each other, keep what waits
// themselves, and do not continue past one that still holds data.
//
// Everything here runs on the stream's worker.
#include "golanghost.h"

#include <stdlib.h>
#include <string.h>

// Chains are taken from a list of the thread's, and never freed: what the filter state says of one may be out of date
// (after an internal redirect), and its serial number tells.
static __thread chain *unused;
static __thread uint64_t serials;

typedef struct {
  chain *c;
  uint64_t serial;
} ticket;

static const envoy_dynamic_module_type_module_buffer key = {"golanghost.chain", 16};

static chain *chain_of(void *filter) {
  envoy_dynamic_module_type_envoy_buffer b = {0};
  ticket t;
  if (envoy_dynamic_module_callback_http_get_filter_state_bytes(filter, key, &b) && b.length == sizeof t) {
    memcpy(&t, b.ptr, sizeof t);
    if (t.c->serial == t.serial) {
      return t.c;
    }
  }
  t.c = unused;
  if (t.c != NULL) {
    unused = t.c->next;
  } else {
    t.c = must(calloc(1, sizeof *t.c));
  }
  t.c->serial = t.serial = ++serials;
  envoy_dynamic_module_type_module_buffer value = {(const char *)&t, sizeof t};
  if (!envoy_dynamic_module_callback_http_set_filter_state_bytes(filter, key, value)) {
    t.c->serial = 0;
    t.c->next = unused;
    unused = t.c;
    return NULL; // alone, for all that is known
  }
  return t.c;
}

void chain_join(request *r) {
  r->chain = chain_of(r->filter);
  if (r->chain == NULL) {
    return;
  }
  request **at = &r->chain->first;
  while (*at != NULL) {
    at = &(*at)->next;
  }
  *at = r;
}

void chain_leave(request *r) {
  chain *c = r->chain;
  if (c == NULL) {
    return;
  }
  request **at = &c->first;
  while (*at != r) {
    at = &(*at)->next;
  }
  *at = r->next;
  r->chain = NULL;
  if (c->first == NULL) {
    c->serial = 0;
    c->next = unused;
    unused = c;
  }
}

bool chain_shared(const request *r) { return r->chain != NULL && r->chain->first->next != NULL; }

// blocked tells whether a filter that data passes before r still holds some. The list is in the order of requests.
bool chain_blocked(const request *r, bool encoding) {
  if (r->chain == NULL) {
    return false;
  }
  request *from = encoding ? r->next : r->chain->first;
  for (request *o = from; o != NULL && o != r; o = o->next) {
    if (holds_data(encoding ? &o->encode : &o->decode)) {
      return true;
    }
  }
  return false;
}

// chain_wake lets the filters go on that have waited for r.
void chain_wake(request *r, bool encoding) {
  if (r->chain == NULL || holds_data(encoding ? &r->encode : &r->decode)) {
    return;
  }
  for (request *o = r->chain->first; o != NULL; o = o->next) {
    state *s = encoding ? &o->encode : &o->decode;
    if (s->deferred && !chain_blocked(o, encoding)) {
      s->deferred = false;
      go_on(o, s);
    }
  }
}
