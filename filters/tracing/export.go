package tracing

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Metrics of the exporter.
var (
	metricExported = &filter.Metric{
		Name: "trace_spans_exported_total", Help: "Spans that the collector took.",
	}
	metricDropped = &filter.Metric{
		Name: "trace_spans_dropped_total", Labels: []string{"reason"},
		Help: "Spans lost: queue_full (they came faster than they were sent), unreachable (the collector did not answer, or with 5xx, several times), refused (it answered with another status).",
	}
	metricBatches = &filter.Metric{
		Name: "trace_batches_total", Labels: []string{"result"},
		Help: "Calls to the collector: ok, retry (failed, and made again later), failed.",
	}
)

// Reasons of metricDropped.
const (
	queueFull   = "queue_full"
	unreachable = "unreachable"
	refused     = "refused"
)

const (
	// maxQueueBytes bounds the memory of the spans that wait.
	maxQueueBytes = 8 << 20
	// maxTries bounds the calls for one batch: the first, and again after 1, 2 and 4 s.
	maxTries   = 4
	firstPause = time.Second
	// maxPause bounds what a collector may ask for with Retry-After.
	maxPause = 30 * time.Second
	// grace is how long beyond its timeout a call may be under way before it counts as lost.
	grace = 10 * time.Second
	// period is how often the host asks, at most.
	period = 250 * time.Millisecond
)

// exporter holds the spans that wait for one collector, in its encoding, and hands them to the host as calls. One
// batch is under way at a time. It implements filter.Outbox; all workers share it.
type exporter struct {
	codec   codec
	cluster string
	service string
	headers []filter.Header

	mu       sync.Mutex
	interval time.Duration
	timeout  time.Duration
	maxBatch int
	queue    [][]byte
	bytes    int       // of queue
	oldest   time.Time // when the first of queue came, or a later moment
	sent     *batch    // under way
	held     *batch    // failed, and sent again at its time
	closed   bool
}

// batch is one call and what became of it so far.
type batch struct {
	call  *filter.Call
	spans int
	tries int
	at    time.Time // when it was sent, or is to be sent again
}

// codec writes spans.
type codec interface {
	// appendSpan writes one span.
	appendSpan(b []byte, r *report) []byte
	// join makes the body of a call of spans.
	join(service string, spans [][]byte) []byte
	// contentType is that of the body.
	contentType() string
}

// exporterOf returns the one exporter of this process for a collector and a service: what waits there outlives an
// update of the configuration. The newest configuration says how often it sends.
func exporterOf(c *Export, env *filter.Env) *exporter {
	path, host := c.Path, c.Host
	var enc codec = otlp{}
	if c.Protocol == Zipkin {
		enc = zipkin{}
	}
	if path == "" {
		path = map[string]string{OTLP: "/v1/traces", Zipkin: "/api/v2/spans"}[c.Protocol]
	}
	if host == "" {
		host = hostOf(c.Cluster)
	}
	key := fmt.Sprintf("tracing/export/%s %q %q %q %q", c.Protocol, c.Cluster, path, host, c.Service)
	e := env.Shared(key, func() any {
		return &exporter{codec: enc, cluster: c.Cluster, service: c.Service, headers: []filter.Header{
			{Name: ":method", Value: "POST"}, {Name: ":path", Value: path}, {Name: "host", Value: host},
			{Name: "content-type", Value: enc.contentType()},
		}}
	}).(*exporter)
	e.tune(c)
	return e
}

// hostOf makes a host header of a cluster's name. Istio's are direction|port|subset|host.
func hostOf(cluster string) string {
	if parts := strings.Split(cluster, "|"); len(parts) == 4 && parts[3] != "" {
		return parts[3] + ":" + parts[1]
	}
	if !plainText(cluster, 0) {
		return "collector"
	}
	return cluster
}

func (e *exporter) tune(c *Export) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = false
	e.interval, e.timeout, e.maxBatch = time.Duration(c.Interval), time.Duration(c.Timeout), c.MaxBatch
	if e.interval == 0 {
		e.interval = defaultInterval
	}
	if e.timeout == 0 {
		e.timeout = defaultTimeout
	}
	if e.maxBatch == 0 {
		e.maxBatch = defaultBatch
	}
}

// put queues a span; false: there is no room.
func (e *exporter) put(span []byte, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) >= max(8*e.maxBatch, 2048) || e.bytes+len(span) > maxQueueBytes {
		return false
	}
	if len(e.queue) == 0 {
		e.oldest = now
	}
	e.closed = false
	e.queue = append(e.queue, span)
	e.bytes += len(span)
	return true
}

// Period implements filter.Outbox.
func (e *exporter) Period() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return min(e.interval, period)
}

// Next implements filter.Outbox.
func (e *exporter) Next(now time.Time, m filter.Meter) *filter.Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	if b := e.sent; b != nil {
		if now.Sub(b.at) < b.call.Timeout+grace {
			return nil
		}
		e.sent = nil // the host lost it
		lose(m, b, unreachable)
	}
	b := e.held
	switch {
	case b != nil && now.Before(b.at) && !e.closed:
		return nil
	case b == nil:
		if b = e.take(now); b == nil {
			return nil
		}
	}
	b.tries++
	b.at = now
	e.held, e.sent = nil, b
	return b.call
}

// take makes a batch if there are spans enough, or one has waited long enough.
func (e *exporter) take(now time.Time) *batch {
	n := min(len(e.queue), e.maxBatch)
	// A clock that was set back must not hold spans up.
	waited := now.Sub(e.oldest)
	if n == 0 || n < e.maxBatch && !e.closed && waited >= 0 && waited < e.interval {
		return nil
	}
	b := &batch{spans: n, call: &filter.Call{
		Cluster: e.cluster, Headers: e.headers, Body: e.codec.join(e.service, e.queue[:n]), Timeout: e.timeout,
	}}
	for _, s := range e.queue[:n] {
		e.bytes -= len(s)
	}
	clear(e.queue[:n])
	if e.queue = e.queue[n:]; len(e.queue) == 0 {
		e.queue = nil
	}
	e.oldest = now
	return b
}

// Answered implements filter.Outbox.
func (e *exporter) Answered(c *filter.Call, a *filter.Answer, now time.Time, m filter.Meter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.sent
	if b == nil || b.call != c {
		return // counted as lost already
	}
	e.sent = nil
	status, pause := outcome(a)
	switch again := status == 0 || status >= 500 || status == 429 || status == 408; {
	case status >= 200 && status <= 299:
		m.Count(metricBatches, 1, "ok")
		m.Count(metricExported, int64(b.spans))
	case !again:
		lose(m, b, refused)
	case b.tries >= maxTries || e.closed:
		lose(m, b, unreachable)
	default:
		m.Count(metricBatches, 1, "retry")
		b.at = now.Add(max(pause, firstPause<<(b.tries-1)))
		e.held = b
	}
}

// outcome reads an answer: its status, 0 if there was none, and how long the collector wants to be left alone.
func outcome(a *filter.Answer) (status int, pause time.Duration) {
	if a.Err != "" {
		return 0, 0
	}
	for _, h := range a.Headers {
		switch n, err := strconv.Atoi(h.Value); {
		case err != nil || n < 0:
		case h.Name == ":status":
			status = n
		case h.Name == "retry-after":
			pause = min(time.Duration(min(n, 3600))*time.Second, maxPause)
		}
	}
	return status, pause
}

func lose(m filter.Meter, b *batch, reason string) {
	m.Count(metricBatches, 1, "failed")
	m.Count(metricDropped, int64(b.spans), reason)
}

// Close implements filter.Outbox.
func (e *exporter) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
}

// Empty implements filter.Outbox.
func (e *exporter) Empty() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue) == 0 && e.sent == nil && e.held == nil
}
