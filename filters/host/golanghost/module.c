// The hooks that Envoy calls.
#define _GNU_SOURCE
#include "golanghost.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOOK __attribute__((visibility("default")))

void log_text(int level, const char *text, size_t n) {
  envoy_dynamic_module_callback_log((envoy_dynamic_module_type_log_level)level,
                                    (envoy_dynamic_module_type_module_buffer){text, n});
}

static void log_error(const char *what, const char *which) {
  char text[512];
  int n = snprintf(text, sizeof text, "golanghost: %s %s", what, which == NULL ? "" : which);
  log_text(envoy_dynamic_module_type_log_level_Error, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

// Libraries. Each is loaded once and stays: a Go runtime cannot be unloaded.

static pthread_mutex_t process = PTHREAD_MUTEX_INITIALIZER; // guards what follows
static library *libraries;
static uint64_t routes; // serial numbers
static char own_path[4096];
static uint32_t concurrency;

envoy_dynamic_module_type_abi_version_module_ptr HOOK envoy_dynamic_module_on_program_init(void) {
  // The libraries look for our symbols in the global scope, and Envoy loads modules into a local one.
  Dl_info self;
  if (dladdr((void *)&envoy_dynamic_module_on_program_init, &self) == 0 || self.dli_fname == NULL ||
      dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL) == NULL) {
    log_error("cannot make its own symbols global:", dlerror());
    return NULL;
  }
  snprintf(own_path, sizeof own_path, "%s", self.dli_fname);
  concurrency = envoy_dynamic_module_callback_get_concurrency();
  return envoy_dynamic_modules_abi_version;
}

static bool resolve(library *l, void *so) {
  struct {
    const char *name;
    void **to;
  } exports[] = {
      {"envoyGoFilterNewHttpPluginConfig", (void **)&l->new_config},
      {"envoyGoFilterDestroyHttpPluginConfig", (void **)&l->destroy_config},
      {"envoyGoFilterMergeHttpPluginConfig", (void **)&l->merge_config},
      {"envoyGoFilterOnHttpHeader", (void **)&l->on_header},
      {"envoyGoFilterOnHttpData", (void **)&l->on_data},
      {"envoyGoFilterOnHttpLog", (void **)&l->on_log},
      {"envoyGoFilterOnHttpStreamComplete", (void **)&l->on_complete},
      {"envoyGoFilterOnHttpDestroy", (void **)&l->on_destroy},
      {"envoyGoRequestSemaDec", (void **)&l->sema_dec},
  };
  for (size_t i = 0; i < sizeof exports / sizeof *exports; i++) {
    *exports[i].to = dlsym(so, exports[i].name);
    if (*exports[i].to == NULL) {
      log_error("the library is not made for contrib's golang filter: it lacks", exports[i].name);
      return false;
    }
  }
  return true;
}

// open_library returns the library of that name, loaded now if need be. A name without a slash stands in our own folder.
static const library *open_library(const char *name, size_t n) {
  char path[8192];
  const char *slash = strrchr(own_path, '/');
  if (memchr(name, '/', n) != NULL || slash == NULL) {
    snprintf(path, sizeof path, "%.*s", (int)n, name);
  } else {
    snprintf(path, sizeof path, "%.*s/%.*s", (int)(slash - own_path), own_path, (int)n, name);
  }
  pthread_mutex_lock(&process);
  library *l = libraries;
  while (l != NULL && (l->path.len != strlen(path) || memcmp(l->path.data, path, l->path.len) != 0)) {
    l = l->next;
  }
  if (l == NULL) {
    void *so = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE); // lazily: network symbols stay unresolved
    l = must(calloc(1, sizeof *l));
    if (so == NULL) {
      log_error("cannot load the library:", dlerror());
    }
    if (so != NULL && resolve(l, so)) {
      put(&l->path, path, strlen(path));
      l->next = libraries;
      libraries = l;
    } else {
      free(l);
      l = NULL;
    }
  }
  pthread_mutex_unlock(&process);
  return l;
}

// Configurations. filter_name is PLUGIN@LIBRARY. filter_config is what contrib calls plugin_config: a TypedStruct as it
// stands, or JSON, which the plugin gets as a StringValue.

static void put_field(bytes *b, int field, const void *data, size_t n) {
  unsigned char head[11];
  size_t k = 0, rest = n;
  head[k++] = (unsigned char)(field << 3 | 2);
  for (; rest >= 128; rest >>= 7) {
    head[k++] = (unsigned char)(rest | 128);
  }
  head[k++] = (unsigned char)rest;
  put(b, head, k);
  put(b, data, n);
}

// any wraps a configuration in a serialized google.protobuf.Any.
static void any(bytes *out, const char *data, size_t n) {
  static const char typed[] = "type.googleapis.com/xds.type.v3.TypedStruct";
  static const char string[] = "type.googleapis.com/google.protobuf.StringValue";
  if (n == 0) {
    return;
  }
  bool tagged = data[0] == 0x0a || data[0] == 0x12; // field 1 or 2: a serialized TypedStruct
  bytes value = {0};
  if (tagged) {
    put(&value, data, n);
  } else {
    put_field(&value, 1, data, n);
  }
  put_field(out, 1, tagged ? typed : string, (tagged ? sizeof typed : sizeof string) - 1);
  put_field(out, 2, value.data, value.len);
  wipe(&value);
}

// configure fills in the parts that listeners' and routes' configurations share; NULL: it is refused.
static const library *configure(httpConfig *c, bytes *name, bytes *text, bool is_route,
                                envoy_dynamic_module_type_envoy_buffer filter_name,
                                envoy_dynamic_module_type_envoy_buffer filter_config) {
  const char *at = memchr(filter_name.ptr, '@', filter_name.length);
  if (at == NULL) {
    log_error("filter_name must be PLUGIN@LIBRARY", NULL);
    return NULL;
  }
  size_t n = (size_t)(at - filter_name.ptr);
  put(name, filter_name.ptr, n);
  any(text, filter_config.ptr, filter_config.length);
  *c = (httpConfig){(uint64_t)(uintptr_t)name->data, n, (uint64_t)(uintptr_t)text->data, text->len, is_route, concurrency};
  return open_library(at + 1, filter_name.length - n - 1);
}

void config_release(config *c) {
  pthread_mutex_lock(&c->mu);
  bool gone = --c->refs == 0;
  pthread_mutex_unlock(&c->mu);
  if (!gone) {
    return;
  }
  for (uint32_t i = 0; i < c->metric_count; i++) {
    wipe(&c->metrics[i].name);
  }
  wipe(&c->name);
  wipe(&c->text);
  pthread_mutex_destroy(&c->mu);
  free(c);
}

static bool define_metrics(config *c, void *envoy) {
  envoy_dynamic_module_type_module_buffer label = {"name", 4}, counter = {"golang_counter", 14}, gauge = {"golang_gauge", 12};
  return envoy_dynamic_module_callback_http_filter_config_define_counter(envoy, counter, &label, 1, &c->counter) ==
             envoy_dynamic_module_type_metrics_result_Success &&
         envoy_dynamic_module_callback_http_filter_config_define_gauge(envoy, gauge, &label, 1, &c->gauge) ==
             envoy_dynamic_module_type_metrics_result_Success;
}

envoy_dynamic_module_type_http_filter_config_module_ptr HOOK envoy_dynamic_module_on_http_filter_config_new(
    envoy_dynamic_module_type_http_filter_config_envoy_ptr envoy, envoy_dynamic_module_type_envoy_buffer name,
    envoy_dynamic_module_type_envoy_buffer text) {
  config *c = must(calloc(1, sizeof *c));
  pthread_mutex_init(&c->mu, NULL);
  c->refs = 1;
  c->lib = configure(&c->c, &c->name, &c->text, false, name, text);
  if (c->lib == NULL || !define_metrics(c, envoy)) {
    config_release(c);
    return NULL;
  }
  c->refs++; // Go's, given back by envoyGoConfigHttpFinalize
  c->id = c->lib->new_config(&c->c);
  if (c->id == 0) {
    config_release(c);
    return NULL;
  }
  return c;
}

void HOOK envoy_dynamic_module_on_http_filter_config_destroy(envoy_dynamic_module_type_http_filter_config_module_ptr p) {
  config *c = (config *)p;
  c->lib->destroy_config(c->id, 0);
  while (c->merged != NULL) {
    merged *m = c->merged;
    c->merged = m->next;
    c->lib->destroy_config(m->id, 0);
    free(m);
  }
  config_release(c);
}

envoy_dynamic_module_type_http_filter_per_route_config_module_ptr HOOK
envoy_dynamic_module_on_http_filter_per_route_config_new(envoy_dynamic_module_type_envoy_buffer name,
                                                         envoy_dynamic_module_type_envoy_buffer text) {
  route *rt = must(calloc(1, sizeof *rt));
  rt->lib = configure(&rt->c, &rt->name, &rt->text, true, name, text);
  if (rt->lib != NULL) {
    rt->id = rt->lib->new_config(&rt->c);
  }
  if (rt->id == 0) {
    wipe(&rt->name);
    wipe(&rt->text);
    free(rt);
    return NULL;
  }
  pthread_mutex_lock(&process);
  rt->serial = ++routes;
  pthread_mutex_unlock(&process);
  return rt;
}

void HOOK envoy_dynamic_module_on_http_filter_per_route_config_destroy(
    envoy_dynamic_module_type_http_filter_per_route_config_module_ptr p) {
  route *rt = (route *)p;
  rt->lib->destroy_config(rt->id, 0);
  wipe(&rt->name);
  wipe(&rt->text);
  free(rt);
}

// effective is the configuration of a stream: the listener's, merged with the most specific route's. What is merged is
// kept; of routes that have gone too, up to max_merged.
static uint64_t effective(request *r) {
  enum { max_merged = 1024 };
  config *c = r->cfg;
  const route *rt = envoy_dynamic_module_callback_get_most_specific_route_config(r->filter);
  if (rt == NULL || rt->lib != c->lib) {
    return c->id;
  }
  pthread_mutex_lock(&c->mu);
  merged **at = &c->merged, *m = NULL;
  for (int n = 0; *at != NULL; at = &(*at)->next) {
    if ((*at)->serial == rt->serial) {
      m = *at;
      break;
    }
    if (++n == max_merged) {
      merged *oldest = *at;
      *at = NULL;
      c->lib->destroy_config(oldest->id, 1); // in two seconds: another worker may be about to use it
      free(oldest);
      break;
    }
  }
  if (m == NULL) {
    m = must(calloc(1, sizeof *m));
    m->serial = rt->serial;
    m->id = c->lib->merge_config(c->c.plugin_name_ptr, c->c.plugin_name_len, c->id, rt->id);
    m->next = c->merged;
    c->merged = m;
  }
  uint64_t id = m->id;
  pthread_mutex_unlock(&c->mu);
  return id;
}

// metrics_flush tells Envoy what Go has counted since.
static void metrics_flush(request *r) {
  config *c = r->cfg;
  pthread_mutex_lock(&c->mu);
  for (uint32_t i = 0; i < c->metric_count; i++) {
    int64_t n = c->metrics[i].pending;
    if (n == 0) {
      continue;
    }
    c->metrics[i].pending = 0;
    envoy_dynamic_module_type_module_buffer label = buffer(&c->metrics[i].name);
    if (c->metrics[i].type == 0) {
      envoy_dynamic_module_callback_http_filter_increment_counter(r->filter, c->counter, &label, 1, (uint64_t)n);
    } else if (n > 0) {
      envoy_dynamic_module_callback_http_filter_increment_gauge(r->filter, c->gauge, &label, 1, (uint64_t)n);
    } else {
      envoy_dynamic_module_callback_http_filter_decrement_gauge(r->filter, c->gauge, &label, 1, (uint64_t)-n);
    }
  }
  pthread_mutex_unlock(&c->mu);
}

// Streams.

void request_retain(request *r) {
  pthread_mutex_lock(&r->mu);
  r->refs++;
  pthread_mutex_unlock(&r->mu);
}

void request_release(request *r) {
  pthread_mutex_lock(&r->mu);
  bool gone = --r->refs == 0;
  pthread_mutex_unlock(&r->mu);
  if (!gone) {
    return;
  }
  headers *h[] = {&r->decode.headers, &r->decode.trailers, &r->encode.headers, &r->encode.trailers};
  for (size_t i = 0; i < sizeof h / sizeof *h; i++) {
    map_wipe(&h[i]->m);
  }
  bytes *b[] = {&r->reply_body, &r->reply_details, &r->route_name, &r->remote_address, &r->local_address, &r->text,
                &r->decode.held, &r->decode.ready, &r->encode.held, &r->encode.ready};
  for (size_t i = 0; i < sizeof b / sizeof *b; i++) {
    wipe(b[i]);
  }
  drop_given(&r->decode);
  drop_given(&r->encode);
  pthread_mutex_destroy(&r->mu);
  config_release(r->cfg);
  free(r);
}

envoy_dynamic_module_type_http_filter_module_ptr HOOK envoy_dynamic_module_on_http_filter_new(
    envoy_dynamic_module_type_http_filter_config_module_ptr p, envoy_dynamic_module_type_http_filter_envoy_ptr filter) {
  config *c = (config *)p;
  request *r = must(calloc(1, sizeof *r));
  pthread_mutex_init(&r->mu, NULL);
  pthread_mutex_lock(&c->mu);
  c->refs++;
  pthread_mutex_unlock(&c->mu);
  r->cfg = c;
  r->refs = 1;
  r->filter = filter;
  r->worker = pthread_self();
  r->r.plugin_name = (Cstring){c->name.data, c->name.len};
  r->r.worker_id = envoy_dynamic_module_callback_http_filter_get_worker_index(filter) % concurrency;
  r->decode.p.req = r->encode.p.req = &r->r;
  r->encode.p.is_encoding = 1;
  return r;
}

void attribute(request *r, bytes *to, envoy_dynamic_module_type_attribute_id id) {
  envoy_dynamic_module_type_envoy_buffer b = {0};
  bool found = envoy_dynamic_module_callback_http_filter_get_attribute_string(r->filter, id, &b);
  pthread_mutex_lock(&r->mu);
  wipe(to);
  if (found) {
    put(to, b.ptr, b.length);
  }
  pthread_mutex_unlock(&r->mu);
}

// go_enter prepares the first call into Go.
static void go_enter(request *r) {
  if (r->entered) {
    return;
  }
  r->entered = true;
  chain_join(r);
  r->refs++; // Go's, given back by envoyGoFilterHttpFinalize
  r->r.configId = effective(r);
  r->scheduler = envoy_dynamic_module_callback_http_filter_scheduler_new(r->filter);
  attribute(r, &r->route_name, envoy_dynamic_module_type_attribute_id_XdsRouteName);
  attribute(r, &r->remote_address, envoy_dynamic_module_type_attribute_id_SourceAddress);
  attribute(r, &r->local_address, envoy_dynamic_module_type_attribute_id_DestinationAddress);
}

#define STATUS(direction, part) envoy_dynamic_module_type_on_http_filter_##direction##_##part##_status

STATUS(request, headers)
HOOK envoy_dynamic_module_on_http_filter_request_headers(void *filter, const void *p, bool end) {
  (void)filter;
  request *r = (request *)p;
  go_enter(r);
  metrics_flush(r);
  return hook_headers(r, &r->decode, end);
}

STATUS(request, body) HOOK envoy_dynamic_module_on_http_filter_request_body(void *filter, const void *p, bool end) {
  (void)filter;
  request *r = (request *)p;
  return hook_data(r, &r->decode, end);
}

STATUS(request, trailers) HOOK envoy_dynamic_module_on_http_filter_request_trailers(void *filter, const void *p) {
  (void)filter;
  request *r = (request *)p;
  return hook_trailers(r, &r->decode);
}

STATUS(response, headers)
HOOK envoy_dynamic_module_on_http_filter_response_headers(void *filter, const void *p, bool end) {
  (void)filter;
  request *r = (request *)p;
  if (r->encode.p.state == Done) {
    return 0; // our own reply
  }
  go_enter(r); // Envoy may answer before a request has come this far
  r->answered = true;
  return hook_headers(r, &r->encode, end);
}

STATUS(response, body) HOOK envoy_dynamic_module_on_http_filter_response_body(void *filter, const void *p, bool end) {
  (void)filter;
  request *r = (request *)p;
  return hook_data(r, &r->encode, end);
}

STATUS(response, trailers) HOOK envoy_dynamic_module_on_http_filter_response_trailers(void *filter, const void *p) {
  (void)filter;
  request *r = (request *)p;
  return hook_trailers(r, &r->encode);
}

void task_free(task *t) {
  wipe(&t->a);
  wipe(&t->b);
  wipe(&t->c);
  map_wipe(&t->headers);
  free(t);
}

static task *next_task(request *r) {
  pthread_mutex_lock(&r->mu);
  task *t = r->filter == NULL ? NULL : r->first;
  if (t != NULL) {
    r->first = t->next;
    if (r->first == NULL) {
      r->last = NULL;
    }
  }
  pthread_mutex_unlock(&r->mu);
  return t;
}

void HOOK envoy_dynamic_module_on_http_filter_scheduled(void *filter, const void *p, uint64_t event) {
  (void)filter, (void)event;
  request *r = (request *)p;
  request_retain(r); // a task may end the stream
  for (task *t = next_task(r); t != NULL; t = next_task(r)) {
    t->run(r, t);
    task_free(t);
  }
  request_release(r);
}

void HOOK envoy_dynamic_module_on_http_filter_stream_complete(void *filter, const void *p) {
  (void)filter;
  request *r = (request *)p;
  if (r->entered) {
    stream_over(r);
    metrics_flush(r);
  }
}

void HOOK envoy_dynamic_module_on_http_filter_destroy(const void *p) {
  request *r = (request *)p;
  chain_leave(r);
  pthread_mutex_lock(&r->mu);
  bool terminated = in_go(&r->decode) || in_go(&r->encode);
  void *scheduler = r->scheduler;
  task *t = r->first;
  r->filter = r->scheduler = NULL;
  r->first = r->last = NULL;
  pthread_mutex_unlock(&r->mu);
  if (r->entered) {
    r->cfg->lib->on_destroy(&r->r, terminated);
  }
  if (scheduler != NULL) {
    envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler);
  }
  while (t != NULL) {
    task *following = t->next;
    task_free(t);
    t = following;
  }
  request_release(r);
}
