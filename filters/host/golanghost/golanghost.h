// golanghost: a dynamic module for a stock Envoy that loads libraries made for contrib Envoy's golang HTTP filter. It
// implements the symbols that such a library expects of contrib, on Envoy's dynamic-module ABI. See README.md.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Only what these declare is visible to others: the module's symbols are in the process's global scope.
#pragma GCC visibility push(default)
#include "abi.h" // of Envoy's dynamic modules
#include "api.h" // of contrib's golang filter
#pragma GCC visibility pop
#include "memory.h"

// The states of one direction of a stream: enum FilterState of contrib/golang/filters/http/source/processor_state.h.
enum {
  WaitingHeader = 0,
  ProcessingHeader = 1,
  WaitingData = 2,
  WaitingAllData = 3,
  ProcessingData = 4,
  WaitingTrailer = 5,
  ProcessingTrailer = 6,
  Done = 7,
};

// What Go returns (api.StatusType).
enum { Running, LocalReply, Continue, StopAndBuffer, StopAndBufferWatermark, StopNoBuffer };

struct request;

// What a library exports.
typedef struct library {
  struct library *next;
  bytes path;
  uint64_t (*new_config)(httpConfig *);
  void (*destroy_config)(uint64_t, int64_t);
  uint64_t (*merge_config)(uint64_t, uint64_t, uint64_t, uint64_t);
  uint64_t (*on_header)(processState *, uint64_t, uint64_t, uint64_t);
  uint64_t (*on_data)(processState *, uint64_t, uint64_t, uint64_t);
  void (*on_log)(httpRequest *, uint64_t, processState *, processState *, uint64_t, uint64_t, uint64_t, uint64_t,
                 uint64_t, uint64_t, uint64_t, uint64_t);
  void (*on_complete)(httpRequest *);
  void (*on_destroy)(httpRequest *, uint64_t);
  void (*sema_dec)(httpRequest *);
} library;

// A header map as Go sees it: a copy, taken when Go is called, so that Go's threads can read it. Edits go to the copy
// and, on the worker, to Envoy's map (envoy false: there is none, the response is a local reply in the making).
typedef struct {
  map m;
  bool valid, envoy;
  envoy_dynamic_module_type_http_header_type type;
} headers;

// One direction of a stream. Go holds a pointer to p.
typedef struct {
  processState p; // first: Go's pointer is a pointer to the whole
  headers headers, trailers;
  bool end_stream;    // the end has been seen
  bool go_end_stream; // Go has been told of it
  bool seen_trailers;
  bytes *given; // buffers that Go holds, oldest first
  // Where the stream has several of our filters, what waits is here and not in Envoy's buffer: what Go has not seen yet,
  // and what may go on when a filter before this one has let go of its data.
  bytes held, ready;
  bool deferred; // this side is to go on then
} state;

// The filters of one stream, in the order in which requests pass them.
typedef struct chain {
  struct chain *next; // in the list of unused ones
  uint64_t serial;    // 0: unused
  struct request *first;
} chain;

// One stream. It outlives Envoy's filter until Go's garbage collector has finalized its side.
typedef struct request {
  httpRequest r; // first
  struct config *cfg;
  state decode, encode;
  pthread_t worker;

  pthread_mutex_t mu; // guards what follows
  int refs;           // Envoy's, Go's, and one for each callback in progress
  void *filter;       // Envoy's; NULL once destroyed
  void *scheduler;    // NULL once destroyed
  struct task *first, *last;

  // On the worker only.
  chain *chain; // NULL: alone
  struct request *next; // in the chain
  bool entered;  // Go knows the stream
  bool answered; // a response has come, or a local reply has gone
  bool replying; // a local reply waits for Go's encoding side
  int reply_status;
  bytes reply_body, reply_details;

  // Read from any thread, with the lock held.
  bytes route_name, remote_address, local_address;
  bytes text; // what the last read returned
} request;

enum { max_metrics = 4096 };

// One configuration of a listener. It lives until Go's garbage collector has finalized it and Envoy has let go.
typedef struct config {
  httpConfig c; // first
  const library *lib;
  uint64_t id;
  bytes name, text;
  size_t counter, gauge; // Envoy's, one for all of Go's, with the label "name"

  pthread_mutex_t mu; // guards what follows
  int refs;
  struct {
    bytes name;
    uint32_t type;
    int64_t value, pending;
  } metrics[max_metrics];
  uint32_t metric_count;
  struct merged *merged;
} config;

// The configuration of a route.
typedef struct route {
  httpConfig c; // first
  const library *lib;
  uint64_t id, serial;
  bytes name, text;
} route;

// What a listener's and a route's configuration merge to.
typedef struct merged {
  struct merged *next;
  uint64_t serial, id;
} merged;

// A piece of work for a stream's worker.
typedef struct task {
  struct task *next;
  void (*run)(request *, struct task *);
  state *s;
  headers *h;
  int number;
  long long grpc;
  bytes a, b, c;
  map headers;
  uint64_t *data_out;
  int *len_out, *rc_out;
} task;

// property.c
bool property(request *r, const char *key, size_t n, bytes *to); // on the worker; false: there is none

// chain.c
void chain_join(request *r);
void chain_leave(request *r);
bool chain_shared(const request *r);
bool chain_blocked(const request *r, bool encoding);
void chain_wake(request *r, bool encoding);

// stream.c
bool holds_data(const state *s);
bool in_go(const state *s);
int hook_headers(request *r, state *s, bool end);
int hook_data(request *r, state *s, bool end);
int hook_trailers(request *r, state *s);
void stream_continue(request *r, state *s, int status);
void stream_reply(request *r, state *s, int status, bytes *body, map *headers, long long grpc, bytes *details);
void stream_over(request *r);
void go_on(request *r, state *s);
void drop_given(state *s);

// enter.c
bool enter(request *r, CAPIStatus *rc);              // locks a stream that Go may act on; false: *rc says why not
request *enter_state(state *s, CAPIStatus *rc);      // the same for one direction; NULL: *rc says why not
CAPIStatus leave(request *r, CAPIStatus rc);         // unlocks, and returns rc
task *task_new(void (*run)(request *, task *));
void post(request *r, task *t);                      // queues t for the worker. With the lock held
bool on_worker(const request *r);
CAPIStatus do_or_post(request *r, task *t);          // with the lock held, which it gives back

// module.c
void request_retain(request *r);
void request_release(request *r);
void task_free(task *t);
void attribute(request *r, bytes *to, envoy_dynamic_module_type_attribute_id id); // on the worker
void config_release(config *c);
void log_text(int level, const char *text, size_t n);

static inline envoy_dynamic_module_type_module_buffer buffer(const bytes *b) {
  return (envoy_dynamic_module_type_module_buffer){b->data == NULL ? "" : b->data, b->len};
}
