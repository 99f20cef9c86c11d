#include "memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *must(void *p) {
  if (p == NULL) {
    fprintf(stderr, "out of memory\n");
    abort();
  }
  return p;
}

void put(bytes *b, const void *data, size_t n) {
  if (n == 0) {
    return;
  }
  // A new block each time, of just that size: so that the address sanitizer sees every use of an old one.
  char *grown = must(malloc(b->len + n));
  if (b->len > 0) {
    memcpy(grown, b->data, b->len);
  }
  memcpy(grown + b->len, data, n);
  free(b->data);
  b->data = grown;
  b->len += n;
}

void take(bytes *to, bytes *from) {
  put(to, from->data, from->len);
  wipe(from);
}

void wipe(bytes *b) {
  free(b->data);
  b->data = NULL;
  b->len = 0;
}

void map_add(map *m, const char *name, size_t name_len, const char *value, size_t value_len) {
  m->e = must(realloc(m->e, (m->n + 1) * sizeof(entry)));
  entry *e = &m->e[m->n++];
  e->name = must(strndup(name, name_len));
  e->value = (bytes){0};
  put(&e->value, value, value_len);
}

static bool named(const entry *e, const char *name, size_t len) {
  return strlen(e->name) == len && memcmp(e->name, name, len) == 0;
}

void map_remove(map *m, const char *name, size_t len) {
  size_t kept = 0;
  for (size_t i = 0; i < m->n; i++) {
    if (named(&m->e[i], name, len)) {
      free(m->e[i].name);
      wipe(&m->e[i].value);
    } else {
      m->e[kept++] = m->e[i];
    }
  }
  m->n = kept;
}

entry *map_get(map *m, const char *name, size_t len) {
  for (size_t i = 0; i < m->n; i++) {
    if (named(&m->e[i], name, len)) {
      return &m->e[i];
    }
  }
  return NULL;
}

size_t map_size(const map *m) {
  size_t n = 0;
  for (size_t i = 0; i < m->n; i++) {
    n += strlen(m->e[i].name) + m->e[i].value.len;
  }
  return n;
}

void map_wipe(map *m) {
  for (size_t i = 0; i < m->n; i++) {
    free(m->e[i].name);
    wipe(&m->e[i].value);
  }
  free(m->e);
  *m = (map){0};
}
