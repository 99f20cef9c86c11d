// Metrics: by name, shared by all configurations, as in Envoy.
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { max_metrics = 8192 };
static struct {
  char *name;
  uint32_t type;
  int64_t value;
} metrics[max_metrics];
static uint32_t metric_count;

CAPIStatus envoyGoFilterHttpDefineMetric(void *c, uint32_t type, void *name, int n, uint32_t *id) {
  host_lock();
  if (((config *)c)->gone) {
    return leave(CAPIFilterIsGone);
  }
  uint32_t i = 0;
  while (i < metric_count && (strlen(metrics[i].name) != (size_t)n || memcmp(metrics[i].name, name, (size_t)n) != 0)) {
    i++;
  }
  if (i == metric_count) {
    if (i == max_metrics) {
      return leave(CAPIInternalFailure);
    }
    metrics[i].name = must(strndup(name, (size_t)n));
    metrics[i].type = type;
    metric_count++;
  }
  *id = i;
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpIncrementMetric(void *c, uint32_t id, int64_t n) {
  host_lock();
  if (((config *)c)->gone) {
    return leave(CAPIFilterIsGone);
  }
  metrics[id].value += n;
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpGetMetric(void *c, uint32_t id, uint64_t *value) {
  (void)c;
  host_lock();
  *value = (uint64_t)metrics[id].value;
  return leave(CAPIOK);
}

CAPIStatus envoyGoFilterHttpRecordMetric(void *c, uint32_t id, uint64_t value) {
  (void)c;
  host_lock();
  metrics[id].value = (int64_t)value;
  return leave(CAPIOK);
}

void metrics_print(void) {
  host_lock();
  for (uint32_t i = 0; i < metric_count; i++) {
    printf("metric %s %lld\n", metrics[i].name, (long long)metrics[i].value);
  }
  host_unlock();
}
