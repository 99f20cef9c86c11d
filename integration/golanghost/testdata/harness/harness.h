// A stand-in for contrib Envoy's golang HTTP filter: the host symbols that a contrib golang library needs, over header
// maps in memory, and the state machine that calls the library. What each function does, and from which thread, is
// what contrib/golang/filters/http/source of Envoy 1.39 does.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "memory.h"

// The states of one direction of a stream (enum FilterState of processor_state.h).
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
struct stream;

// One direction of a stream. Go holds a pointer to p.
typedef struct state {
  processState p; // first: Go's pointer is a pointer to the whole
  map *headers, *trailers; // NULL while Go may not touch them
  bool end_stream;    // the host has seen the end
  bool go_end_stream; // Go has been told of it
  bytes held;         // what came while Go was busy, or waits for all data
  bytes *given;       // buffers that Go holds, oldest first
  // What came out on the other side.
  bool passed_headers, passed_trailers, passed_end;
  bytes passed;
} state;

// What contrib calls HttpRequestInternal. It outlives its stream until Go's garbage collector has finalized it.
typedef struct request {
  httpRequest r; // first
  state decode, encode;
  bytes text;            // what the last read returned; valid until the next
  struct stream *stream; // guarded by the lock; NULL once gone
  int refs;              // Go's, the stream's, and one for each task; guarded by the lock
} request;

typedef struct worker {
  uint32_t id;
  pthread_t thread;
  pthread_mutex_t mu;
  pthread_cond_t more;
  struct task *first, *last;
} worker;

typedef struct config {
  httpConfig c; // first
  uint64_t id;
  bytes text;
  bool gone;
} config;

// An entry of the route table: the first whose prefix and token match is taken.
typedef struct route {
  bytes name, prefix, token; // an empty token is any
  bytes present;             // a header that must be there; empty: none
  bytes config;              // metadata mizzen.config; empty: none
} route;

typedef struct stream {
  struct stream *next; // of those that commands may be about
  int id;
  worker *w;
  config *cfg;
  request *req;
  bool destroyed; // guarded by the lock
  bool answered;  // a response went, or started to go, to the client
  bool direct;    // it went past the filter
  map request_headers, request_trailers, response_headers, response_trailers;
  map metadata, filter_state;
  bytes details, override;
  int cleared;      // how often the route cache was cleared
  const route *on;  // the route selected, NULL: none
  char address[64]; // the client's
  double started;
} stream;

// What the library exports, looked up with dlsym.
typedef struct {
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
  void (*clean_up)(void);
} library;

extern library lib;
extern int live_requests; // requests not yet freed; guarded by the lock

// stream.c
void host_lock(void);
void host_unlock(void);
bool in_go(const state *s);
stream *stream_open(config *cfg, worker *w, int id);
const route *route_select(const map *request); // main.c
void stream_headers(stream *st, state *s, bool end);
void stream_data(stream *st, state *s, const char *data, size_t n, bool end);
void stream_trailers(stream *st, state *s);
void stream_continue(stream *st, state *s, int status);
void stream_reply(stream *st, state *s, int status, bytes *body, map *headers, long long grpc, bytes *details);
void stream_log(stream *st, int type);
void stream_complete(stream *st);
void stream_destroy(stream *st);
void request_release(request *r); // with the lock held

// worker.c: tasks posted to a worker, in order
typedef struct task {
  struct task *next;
  void (*run)(struct task *, stream *); // stream NULL: it has gone
  request *req;
  state *s;
  int number;
  long long grpc;
  bytes a, b;
  map headers;
  uint64_t *data_out;
  int *len_out, *rc_out;
} task;

task *task_new(request *r, state *s, void (*run)(task *, stream *)); // takes a reference to r; with the lock held
void task_post(task *t);                                              // with the lock held
bool worker_step(worker *w, double until);                            // runs one task; false: none came until then
double now_ms(void);

// enter.c
stream *enter(request *r, CAPIStatus *rc);     // the stream, locked; NULL: *rc says why not, and the lock is not held
stream *enter_state(state *s, CAPIStatus *rc); // the same for one direction
CAPIStatus leave(CAPIStatus rc);               // unlocks, and returns rc
bool on_worker(const stream *st);
CAPIStatus do_or_post(stream *st, task *t);    // with the lock held, which it gives back

// metrics.c
void metrics_print(void);
