// Bytes and header maps in memory. The harness of integration/golanghost uses them too.
#pragma once

#include <stddef.h>

// Bytes that grow.
typedef struct bytes {
  char *data;
  size_t len;
  struct bytes *next; // in a list of buffers that Go holds
} bytes;

typedef struct {
  char *name;
  bytes value;
} entry;

// A header map, or any ordered list of names and values.
typedef struct {
  entry *e;
  size_t n;
} map;

void *must(void *p); // p, or the end of the process if it is NULL
void put(bytes *b, const void *data, size_t n);
void take(bytes *to, bytes *from); // appends from to to, and empties from
void wipe(bytes *b);
void map_add(map *m, const char *name, size_t name_len, const char *value, size_t value_len);
void map_remove(map *m, const char *name, size_t len);
entry *map_get(map *m, const char *name, size_t len);
size_t map_size(const map *m); // bytes of names and values
void map_wipe(map *m);
