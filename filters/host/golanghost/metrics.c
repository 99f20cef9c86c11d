// Metrics: kept here, told to Envoy from the next stream's worker. Type 0 counts, 1 is a gauge.
#include "golanghost.h"

#include <string.h>

CAPIStatus envoyGoFilterHttpDefineMetric(void *p, uint32_t type, void *name, int n, uint32_t *id) {
  config *c = p;
  pthread_mutex_lock(&c->mu);
  uint32_t i = 0;
  while (i < c->metric_count &&
         (c->metrics[i].name.len != (size_t)n || memcmp(c->metrics[i].name.data, name, (size_t)n) != 0)) {
    i++;
  }
  CAPIStatus rc = i < max_metrics && type <= 1 ? CAPIOK : CAPIInvalidScene;
  if (rc == CAPIOK && i == c->metric_count) {
    put(&c->metrics[i].name, name, (size_t)n);
    c->metrics[i].type = type;
    c->metric_count++;
  }
  *id = i;
  pthread_mutex_unlock(&c->mu);
  return rc;
}

static CAPIStatus move(config *c, uint32_t id, int64_t by, bool to) {
  pthread_mutex_lock(&c->mu);
  if (id < c->metric_count) {
    by -= to ? c->metrics[id].value : 0;
    c->metrics[id].value += by;
    c->metrics[id].pending += by;
  }
  pthread_mutex_unlock(&c->mu);
  return CAPIOK;
}

CAPIStatus envoyGoFilterHttpIncrementMetric(void *c, uint32_t id, int64_t n) { return move(c, id, n, false); }
CAPIStatus envoyGoFilterHttpRecordMetric(void *c, uint32_t id, uint64_t n) { return move(c, id, (int64_t)n, true); }

CAPIStatus envoyGoFilterHttpGetMetric(void *p, uint32_t id, uint64_t *value) {
  config *c = p;
  pthread_mutex_lock(&c->mu);
  *value = id < c->metric_count ? (uint64_t)c->metrics[id].value : 0;
  pthread_mutex_unlock(&c->mu);
  return CAPIOK;
}

void envoyGoConfigHttpFinalize(void *c) { config_release(c); }
