// harness LIBRARY < script: loads a contrib golang library and drives it as the script says. Words are %-encoded.
//
//   config VAR listener|route HEX     parses a configuration, a serialized Any;  merge VAR LISTENER ROUTE;  drop VAR
//   route name= prefix= token= present= config=     adds to the route table
//   open VAR HEADERS     begins a stream, which the commands below are about;  use N: they are about another;  from ADDRESS
//   request [end]   data TEXT [end]   trailers HEADERS                    what the client sends
//   response HEADERS   answer HEADERS   response-data TEXT [end]   response-trailers HEADERS     what the upstream sends
//   wait MS     runs the worker until Go has let go of the stream;  sleep MS: runs it that long
//   report   log-start   finish (complete, report, log, destroy)   destroy
//   respond HEADERS   exchange VAR HEADERS     a whole stream at once, answered as respond said
//   crowd VAR N HEADERS     N streams on each of four workers
//   metrics   settle (until Go has collected every stream)   echo TEXT
#define _GNU_SOURCE
#include "harness.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { max_vars = 64, max_routes = 64, max_words = 64, patience_ms = 5000 };
enum { DownstreamStart = 4, DownstreamEnd = 6 }; // api.AccessLogType

static worker main_worker = {.mu = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
static struct {
  char name[32];
  config *cfg;
} vars[max_vars];
static int var_count, stream_count, route_count;
static route routes[max_routes];
static stream *now; // the stream that commands are about
static stream *all; // all that are open
static char address[64]; // of the next stream's client, "": the usual one
static char respond[4096] = ":status=200";

static void fail(const char *what, const char *which) {
  fprintf(stderr, "harness: %s %s\n", what, which);
  exit(2);
}

// Text. A word is %-encoded; "name=value" has both sides encoded.

static int hex(char c) { return isdigit((unsigned char)c) ? c - '0' : (tolower((unsigned char)c) - 'a') + 10; }

static void decode(bytes *out, const char *word, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char c = word[i];
    if (c == '%' && i + 2 < n) {
      c = (char)(hex(word[i + 1]) * 16 + hex(word[i + 2]));
      i += 2;
    }
    put(out, &c, 1);
  }
}

static void encode(const char *data, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)data[i];
    if (c <= ' ' || c == '%' || c == '=' || c >= 127) {
      printf("%%%02X", c);
    } else {
      putchar(c);
    }
  }
}

static void print_map(const char *what, const map *m) {
  printf("%s #%d", what, now->id);
  for (size_t i = 0; i < m->n; i++) {
    putchar(' ');
    encode(m->e[i].name, strlen(m->e[i].name));
    putchar('=');
    encode(m->e[i].value.data, m->e[i].value.len);
  }
  putchar('\n');
}

static void print_text(const char *what, const bytes *b) {
  if (b->len > 0) {
    printf("%s #%d ", what, now->id);
    encode(b->data, b->len);
    putchar('\n');
  }
}

// read_pairs fills m from words of the form name=value.
static void read_pairs(map *m, char **words, int n) {
  map_wipe(m);
  for (int i = 0; i < n; i++) {
    char *eq = strchr(words[i], '=');
    if (eq == NULL) {
      fail("want name=value, not", words[i]);
    }
    bytes name = {0}, value = {0};
    decode(&name, words[i], (size_t)(eq - words[i]));
    decode(&value, eq + 1, strlen(eq + 1));
    map_add(m, name.data, name.len, value.data, value.len);
    wipe(&name);
    wipe(&value);
  }
}

// Configurations.

static config **var(const char *name, bool make) {
  for (int i = 0; i < var_count; i++) {
    if (strcmp(vars[i].name, name) == 0) {
      return &vars[i].cfg;
    }
  }
  if (!make || var_count == max_vars) {
    fail("no configuration", name);
  }
  snprintf(vars[var_count].name, sizeof vars[0].name, "%s", name);
  return &vars[var_count++].cfg;
}

static void cmd_config(char **w, bool route) {
  config *c = must(calloc(1, sizeof *c));
  size_t n = strlen(w[2]) / 2;
  for (size_t i = 0; i < n; i++) {
    char b = (char)(hex(w[2][2 * i]) * 16 + hex(w[2][2 * i + 1]));
    put(&c->text, &b, 1);
  }
  c->c = (httpConfig){(uint64_t)(uintptr_t) "mizzen", 6, (uint64_t)(uintptr_t)c->text.data, c->text.len, route, 4};
  c->id = lib.new_config(&c->c);
  printf("config %s %s\n", w[0], c->id == 0 ? "rejected" : "accepted");
  *var(w[0], true) = c;
}

static void cmd_merge(char **w) {
  config *c = must(calloc(1, sizeof *c));
  config *parent = *var(w[1], false), *child = *var(w[2], false);
  c->id = lib.merge_config((uint64_t)(uintptr_t) "mizzen", 6, parent->id, child->id);
  *var(w[0], true) = c;
}

// drop ends a configuration as a listener update does. Go frees a listener's later.
static void cmd_drop(const char *name) {
  config **c = var(name, false);
  host_lock();
  (*c)->gone = true;
  host_unlock();
  if ((*c)->id != 0) {
    lib.destroy_config((*c)->id, 0);
  }
  *c = NULL;
}

// Routes. Without any there is one, called "first".

static bool is(const bytes *b, const char *p, size_t n) { return b->len == n && (n == 0 || memcmp(b->data, p, n) == 0); }

const route *route_select(const map *request) {
  static char name[] = "first"; // constant: the workers of a crowd ask at once
  static const route first = {.name = {.data = name, .len = sizeof name - 1}};
  if (route_count == 0) {
    return &first;
  }
  entry *path = map_get((map *)request, ":path", 5), *token = map_get((map *)request, "x-mizzen-route", 14);
  for (int i = 0; i < route_count; i++) {
    const route *r = &routes[i];
    bool at = path != NULL && path->value.len >= r->prefix.len &&
              (r->prefix.len == 0 || memcmp(path->value.data, r->prefix.data, r->prefix.len) == 0);
    bool chosen = r->token.len == 0 || (token != NULL && is(&r->token, token->value.data, token->value.len));
    bool there = r->present.len == 0 || map_get((map *)request, r->present.data, r->present.len) != NULL;
    if (at && chosen && there) {
      return r;
    }
  }
  return NULL;
}

// cmd_route adds a route: name= prefix= token= present= config=, any but the name left out.
static void cmd_route(char **w, int n) {
  if (route_count == max_routes) {
    fail("too many routes:", w[0]);
  }
  route *r = &routes[route_count++];
  map m = {0};
  read_pairs(&m, w, n);
  struct {
    const char *name;
    bytes *to;
  } parts[] = {{"name", &r->name}, {"prefix", &r->prefix}, {"token", &r->token}, {"present", &r->present}, {"config", &r->config}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    entry *e = map_get(&m, parts[i].name, strlen(parts[i].name));
    if (e != NULL) {
      take(parts[i].to, &e->value);
    }
  }
  map_wipe(&m);
}

// Streams.

// busy tells whether Go has the stream in its hands, on the side that is of interest.
static bool busy(const stream *st) {
  return in_go(st->answered ? &st->req->encode : &st->req->decode);
}

static void report(void) {
  state *d = &now->req->decode, *e = &now->req->encode;
  if (d->passed_headers) {
    print_map("upstream", &now->request_headers);
  }
  print_text("upstream-body", &d->passed);
  if (d->passed_trailers) {
    print_map("upstream-trailers", &now->request_trailers);
  }
  if (e->passed_headers) {
    print_map("answer", &now->response_headers);
  }
  print_text("answer-body", &e->passed);
  if (e->passed_trailers) {
    print_map("answer-trailers", &now->response_trailers);
  }
  print_text("details", &now->details);
  print_text("override", &now->override);
  if (now->metadata.n > 0) {
    print_map("metadata", &now->metadata);
  }
  if (now->on != NULL) {
    print_text("route", &now->on->name);
  }
  printf("stream #%d ms=%.0f cleared=%d direct=%d request=%s response=%s busy=%d\n", now->id, now_ms() - now->started,
         now->cleared, now->direct, d->passed_end ? "ended" : "open", e->passed_end ? "ended" : "open", busy(now));
}

static void open_stream(config *c, worker *w, char **pairs, int n) {
  now = stream_open(c, w, ++stream_count);
  now->next = all;
  all = now;
  read_pairs(&now->request_headers, pairs, n);
  now->on = route_select(&now->request_headers);
  if (address[0] != 0) {
    snprintf(now->address, sizeof now->address, "%s", address);
  }
}

// cmd_use makes commands be about the stream of that number.
static void cmd_use(const char *id) {
  now = all;
  while (now != NULL && now->id != atoi(id)) {
    now = now->next;
  }
  if (now == NULL) {
    fail("no stream", id);
  }
}

static void close_stream(void) {
  stream **at = &all;
  while (*at != now) {
    at = &(*at)->next;
  }
  *at = now->next;
  stream_destroy(now);
  now = NULL;
}

// wait_for runs tasks until Go has let go of the stream, and no task is left, or for ms.
static void wait_for(double ms) {
  double until = now_ms() + ms;
  while (worker_step(&main_worker, busy(now) ? until : 0)) {
  }
}

static void finish(void) {
  stream_complete(now);
  report();
  stream_log(now, DownstreamEnd);
  close_stream();
}

static int split(char *line, char **words) {
  int n = 0;
  for (char *w = strtok(line, " \n"); w != NULL && n < max_words; w = strtok(NULL, " \n")) {
    words[n++] = w;
  }
  return n;
}

static void answer(const char *text, bool end) {
  char copy[sizeof respond], *words[max_words];
  snprintf(copy, sizeof copy, "%s", text);
  read_pairs(&now->response_headers, words, split(copy, words));
  now->answered = true;
  stream_headers(now, &now->req->encode, end);
}

// exchange is a whole stream: a request without body, an answer without body unless Go gives its own, the end.
static void cmd_exchange(char **w, int n) {
  open_stream(*var(w[0], false), &main_worker, w + 1, n - 1);
  stream_headers(now, &now->req->decode, true);
  wait_for(patience_ms);
  if (!now->answered && now->req->decode.passed_headers) {
    answer(respond, true);
    wait_for(patience_ms);
  }
  finish();
}

static void on_stream(const char *cmd, char **w, int n, const char *rest) {
  state *d = &now->req->decode, *e = &now->req->encode;
  bool end = n > 0 && strcmp(w[n - 1], "end") == 0;
  if (strcmp(cmd, "request") == 0) {
    stream_headers(now, d, end);
  } else if (strcmp(cmd, "data") == 0 || strcmp(cmd, "response-data") == 0) {
    bytes b = {0};
    decode(&b, w[0], strlen(w[0]));
    stream_data(now, *cmd == 'd' ? d : e, b.data, b.len, n > 1 && end);
    wipe(&b);
  } else if (strcmp(cmd, "trailers") == 0) {
    read_pairs(&now->request_trailers, w, n);
    stream_trailers(now, d);
  } else if (strcmp(cmd, "response") == 0) {
    answer(rest, false);
  } else if (strcmp(cmd, "answer") == 0) {
    answer(rest, true);
  } else if (strcmp(cmd, "response-trailers") == 0) {
    read_pairs(&now->response_trailers, w, n);
    stream_trailers(now, e);
  } else if (strcmp(cmd, "wait") == 0) {
    wait_for(atof(w[0]));
  } else if (strcmp(cmd, "report") == 0) {
    report();
  } else if (strcmp(cmd, "log-start") == 0) {
    stream_log(now, DownstreamStart);
  } else if (strcmp(cmd, "finish") == 0) {
    finish();
  } else if (strcmp(cmd, "destroy") == 0) {
    close_stream();
  } else {
    fail("no command", cmd);
  }
}

// Several workers at once.

typedef struct {
  worker w;
  pthread_t id;
  config *cfg;
  char text[4096];
  int n, upstream, answered;
} crowd;

static void *crowd_run(void *arg) {
  crowd *c = arg;
  c->w.thread = pthread_self();
  for (int i = 0; i < c->n; i++) {
    char copy[sizeof c->text], *words[max_words];
    char *save = NULL;
    int k = 0;
    snprintf(copy, sizeof copy, "%s", c->text);
    for (char *w = strtok_r(copy, " \n", &save); w != NULL && k < max_words; w = strtok_r(NULL, " \n", &save)) {
      words[k++] = w;
    }
    stream *st = stream_open(c->cfg, &c->w, 0);
    read_pairs(&st->request_headers, words, k);
    st->on = route_select(&st->request_headers);
    stream_headers(st, &st->req->decode, true);
    double until = now_ms() + patience_ms;
    while (worker_step(&c->w, busy(st) && i % 7 != 3 ? until : 0)) { // one in seven goes away at once
    }
    c->upstream += st->req->decode.passed_headers;
    c->answered += st->req->encode.passed_headers;
    stream_complete(st);
    stream_destroy(st);
  }
  while (worker_step(&c->w, now_ms() + 20)) {
  }
  return NULL;
}

static void cmd_crowd(char **w, const char *text) {
  enum { workers = 4 };
  static crowd all[workers];
  int upstream = 0, answered = 0;
  for (uint32_t i = 0; i < workers; i++) {
    crowd *c = &all[i];
    *c = (crowd){.w = {.id = i}, .cfg = *var(w[0], false), .n = atoi(w[1])};
    pthread_mutex_init(&c->w.mu, NULL);
    pthread_cond_init(&c->w.more, NULL);
    snprintf(c->text, sizeof c->text, "%s", text);
    pthread_create(&c->id, NULL, crowd_run, c);
  }
  for (int i = 0; i < workers; i++) {
    pthread_join(all[i].id, NULL);
    upstream += all[i].upstream;
    answered += all[i].answered;
  }
  printf("crowd upstream=%d answered=%d\n", upstream, answered);
}

static void load(const char *path) {
  void *so = dlopen(path, RTLD_LAZY); // lazily: only the symbols that are called must exist
  if (so == NULL) {
    fail("load", dlerror());
  }
  struct {
    const char *name;
    void **to;
  } exports[] = {
      {"envoyGoFilterNewHttpPluginConfig", (void **)&lib.new_config},
      {"envoyGoFilterDestroyHttpPluginConfig", (void **)&lib.destroy_config},
      {"envoyGoFilterMergeHttpPluginConfig", (void **)&lib.merge_config},
      {"envoyGoFilterOnHttpHeader", (void **)&lib.on_header},
      {"envoyGoFilterOnHttpData", (void **)&lib.on_data},
      {"envoyGoFilterOnHttpLog", (void **)&lib.on_log},
      {"envoyGoFilterOnHttpStreamComplete", (void **)&lib.on_complete},
      {"envoyGoFilterOnHttpDestroy", (void **)&lib.on_destroy},
      {"envoyGoRequestSemaDec", (void **)&lib.sema_dec},
      {"envoyGoFilterCleanUp", (void **)&lib.clean_up},
  };
  for (size_t i = 0; i < sizeof exports / sizeof *exports; i++) {
    *exports[i].to = dlsym(so, exports[i].name);
    if (*exports[i].to == NULL) {
      fail("missing export", exports[i].name);
    }
  }
}

// settle lets Go's garbage collector finalize what has ended: the finalizers run on a thread of Go's.
static void settle(void) {
  double until = now_ms() + patience_ms;
  int live = 1;
  while (live > 0 && now_ms() < until) {
    lib.clean_up();
    while (worker_step(&main_worker, now_ms() + 10)) {
    }
    host_lock();
    live = live_requests;
    host_unlock();
  }
  printf("live %d\n", live);
}

static void command(char *line) {
  char text[65536], *w[max_words];
  snprintf(text, sizeof text, "%s", line);
  int n = split(line, w);
  if (n == 0 || w[0][0] == '#') {
    return;
  }
  const char *rest = text + (n > 1 ? w[1] - line : (long)strlen(text));
  if (strcmp(w[0], "config") == 0 && n == 4) {
    cmd_config(w + 1, strcmp(w[2], "route") == 0);
  } else if (strcmp(w[0], "merge") == 0 && n == 4) {
    cmd_merge(w + 1);
  } else if (strcmp(w[0], "drop") == 0 && n == 2) {
    cmd_drop(w[1]);
  } else if (strcmp(w[0], "route") == 0) {
    cmd_route(w + 1, n - 1);
  } else if (strcmp(w[0], "from") == 0 && n == 2) {
    snprintf(address, sizeof address, "%s", w[1]);
  } else if (strcmp(w[0], "use") == 0 && n == 2) {
    cmd_use(w[1]);
  } else if (strcmp(w[0], "echo") == 0) {
    printf("echo %s\n", rest);
  } else if (strcmp(w[0], "respond") == 0) {
    snprintf(respond, sizeof respond, "%s", rest);
  } else if (strcmp(w[0], "open") == 0 && n > 1) {
    open_stream(*var(w[1], false), &main_worker, w + 2, n - 2);
  } else if (strcmp(w[0], "exchange") == 0 && n > 1) {
    cmd_exchange(w + 1, n - 1);
  } else if (strcmp(w[0], "crowd") == 0 && n > 2) {
    cmd_crowd(w + 1, n > 3 ? text + (w[3] - line) : "");
  } else if (strcmp(w[0], "sleep") == 0) {
    double until = now_ms() + atof(w[1]);
    while (worker_step(&main_worker, until)) {
    }
  } else if (strcmp(w[0], "metrics") == 0) {
    metrics_print();
  } else if (strcmp(w[0], "settle") == 0) {
    settle();
  } else if (now != NULL) {
    on_stream(w[0], w + 1, n - 1, rest);
  } else {
    fail("no stream for", w[0]);
  }
}

int main(int argc, char **argv) {
  static char line[65536];
  if (argc != 2) {
    fail("usage:", "harness LIBRARY < script");
  }
  main_worker.thread = pthread_self();
  load(argv[1]);
  while (fgets(line, sizeof line, stdin) != NULL) {
    command(line);
    fflush(stdout);
  }
  fflush(stdout);
  _Exit(0); // Go's threads run on: no destructors under their feet
}
