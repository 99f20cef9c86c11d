// The part of Envoy's dynamic-module ABI (v0.1.0, Envoy 1.36 and later) that the host uses, and what the C half of the
// host (envoy.c) and its Go half (crossing.go) share. Enumerations are passed as int, which they are in the C ABI.
#ifndef MIZZEN_ENVOY_H
#define MIZZEN_ENVOY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// mz_text is envoy_buffer and module_buffer.
typedef struct {
  const char *ptr;
  size_t length;
} mz_text;

// mz_header is envoy_http_header and module_http_header.
typedef struct {
  mz_text name, value;
} mz_header;

// Kinds of header maps.
enum { MZ_REQUEST = 0, MZ_RESPONSE = 2, MZ_RESPONSE_TRAILERS = 3, MZ_NOTHING = -1 };

// Attributes.
enum {
  MZ_RESPONSE_CODE = 15,
  MZ_RESPONSE_DETAILS = 16,
  MZ_GRPC_STATUS = 18,
  MZ_SOURCE_ADDRESS = 24,
  MZ_UPSTREAM_ADDRESS = 41,
  MZ_ROUTE_NAME = 61
};

// Parts of Envoy's active span.
enum { MZ_TRACE_ID, MZ_SPAN_ID };

// Answers to header hooks, and a log level.
enum { MZ_ENVOY_CONTINUE = 0, MZ_ENVOY_STOP_ALL = 4, MZ_ENVOY_ERROR = 4 };

// Reasons of a reset.
enum { MZ_LOCAL_RESET = 0 };

// What Go decides at the end of a visit.
enum { MZ_GO_ON = 0, MZ_GO_ON_RESPONSE = 1, MZ_STOP = 2 };

// Operations of a script: see mz_op.
enum {
  MZ_SET,      // header[id]: name, value
  MZ_ADD,      // header[id]: name, value
  MZ_REMOVE,   // header[id]: name
  MZ_ANNOTATE, // namespace, key, value
  MZ_FLAG,     // flag
  MZ_COUNT,    // counter id by n: label values
  MZ_RAISE,    // gauge id by n: label values
  MZ_LOWER,    // gauge id by n: label values
  MZ_REPLY,    // status n: details, body, then names and values of headers; always the last
  MZ_RESET,    // details; always the last
};

// mz_op is the head of one operation. texts strings follow, each a uint32_t length and its bytes, unaligned.
typedef struct {
  uint32_t code, texts;
  uint64_t id;
  int64_t n;
} mz_op;

// mz_script is a list of operations.
typedef struct {
  unsigned char *at;
  size_t length, capacity;
} mz_script;

// mz_worker belongs to one of Envoy's threads.
typedef struct {
  struct mz_stream *free;
  size_t spare;       // length of free
  int64_t yielded;    // when Go last yielded on this thread, Unix nanoseconds
  mz_header *headers; // room for a header map
  size_t room;
} mz_worker;

// mz_level is the configuration of a listener (the base) or of a route.
typedef struct {
  void *program;   // Go: *listener or *filter.Program
  bool idle;       // there is no policy in it
  int32_t dirty;   // base: not 0: sums wait to be told to Envoy (atomic)
  int64_t active;  // base: exchanges in progress that Go knows of (atomic)
} mz_level;

// mz_stream is one HTTP stream. It is reused by its worker, together with its Go half.
typedef struct mz_stream {
  void *envoy;
  mz_level *base, *route; // route: the most specific level, or NULL
  mz_worker *worker;
  void *half;             // Go: *stream, NULL until first used
  mz_script now;          // what Go wants done when it returns
  mz_script later;        // and when the response comes, if Go is not to see that
  size_t headers;         // how many worker->headers hold
  int gathered;           // which kind they are
  int depth;              // calls from Envoy in progress
  int grpc;               // grpc-status of the trailers, -1 before they came
  bool entered;           // Go knows of the exchange
  bool response, end;     // Go wants to see the response, and the end
  bool replied, calling, ended, gone;
  struct mz_stream *next;
} mz_stream;

// C, called by Go.
void mz_grow(mz_script *s, size_t capacity);
void mz_gather(mz_stream *s, int kind);
void mz_reroute(mz_stream *s);
mz_text mz_attribute(mz_stream *s, int id);
mz_text mz_cluster(mz_stream *s);
mz_text mz_span(mz_stream *s, int part);
bool mz_number(mz_stream *s, int id, uint64_t *n);
void *mz_alarm(mz_stream *s);
void mz_ring(void *alarm, uint64_t id);
void mz_cancel(void *alarm);
int mz_call(mz_stream *s, void *texts, size_t length, uint32_t count, uint64_t timeout_ms);
void *mz_desk(void *config);
void mz_knock(void *desk);
void mz_clear(void *desk);
int mz_post(void *config, void *texts, size_t length, uint32_t count, uint64_t timeout_ms, uint64_t *id);
int mz_define(void *config, bool gauge, void *texts, size_t length, uint32_t count, size_t *id);
mz_level *mz_new_level(void *program, bool idle);
void mz_log_error(void *text, size_t length);

#endif
