package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// load sends requests through the gateway until it is ended, and keeps those that failed.
type load struct {
	sent  atomic.Int64
	mu    sync.Mutex
	wrong []string
	stop  chan struct{}
	wg    sync.WaitGroup
}

func startLoad(m *meshtest.Mesh, clients int, fine func(meshtest.Answer) bool) *load {
	return startWatchedLoad(m, clients, fine, func() func(meshtest.Answer) { return func(meshtest.Answer) {} })
}

// startWatchedLoad calls begin before each request, and what begin gave with its answer.
func startWatchedLoad(m *meshtest.Mesh, clients int, fine func(meshtest.Answer) bool, begin func() func(meshtest.Answer)) *load {
	l := &load{stop: make(chan struct{})}
	for range clients {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			c := m.ViaGateway()
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				end := begin()
				a, err := c.Get("/")
				l.sent.Add(1)
				if err != nil || !fine(a) {
					l.mu.Lock()
					l.wrong = append(l.wrong, fmt.Sprintf("%d %q %v", a.Code, a.Body, err))
					l.mu.Unlock()
					continue
				}
				end(a)
			}
		}()
	}
	return l
}

func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	if len(l.wrong) > 0 {
		t.Errorf("%d of %d requests failed, first: %s", len(l.wrong), l.sent.Load(), strings.Join(l.wrong[:min(5, len(l.wrong))], "\n"))
	}
	t.Logf("%d requests under load", l.sent.Load())
}

// more waits until n more requests have been answered.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	seen := l.sent.Load()
	meshtest.Eventually(t, "traffic", func() bool { return l.sent.Load() >= seen+n })
}

// window counts the answers to requests that began and ended while one configuration was in force.
type window struct {
	mu     sync.Mutex
	phase  int // counts openings and closings
	on     bool
	counts [2]struct{ all, aborted int } // without and with the fault of details
}

// change begins a phase. The first, and every other one after it, is one in which a change is on its way.
func (w *window) change() { w.mu.Lock(); w.phase++; w.mu.Unlock() }

// begin notes the phase that a request began in.
func (w *window) begin() func(meshtest.Answer) {
	w.mu.Lock()
	phase := w.phase
	w.mu.Unlock()
	return func(a meshtest.Answer) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if phase != w.phase || phase%2 == 0 {
			return
		}
		c := &w.counts[0]
		if w.on {
			c = &w.counts[1]
		}
		c.all++
		if strings.Contains(a.Body, "details: 419") {
			c.aborted++
		}
	}
}

// 200 changes under load: of weights, subsets that come and go, DestinationRule policies, timeouts and faults, of whole
// VirtualServices, DestinationRules and Services. No request fails that the rules do not make fail, and as many fail as
// they say. The aborts use statuses of their own, and no route on the way of an abort retries, so that any other failure shows.
func TestChangesUnderLoad(t *testing.T) {
	m := shared.Mesh(t)
	file := filepath.Join(m.Dir, "churn.yaml")
	defer os.Remove(file)
	meshtest.Replace(t, file, churn(0))
	m.ViaGateway().Await(t, "the way in", hasCode(200), "/")
	m.AwaitGeneration(t, 0)
	var aborted atomic.Int64
	fine := func(a meshtest.Answer) bool {
		reviews, details := strings.Contains(a.Body, "reviews: 418"), strings.Contains(a.Body, "details: 419")
		if reviews {
			aborted.Add(1)
		}
		return a.Code == 200 || a.Code == 503 && (reviews || details)
	}
	var w window
	l := startWatchedLoad(m, 8, fine, w.begin)
	for i := 1; i <= 200; i++ {
		before := m.Generation(t)
		meshtest.Replace(t, file, churn(i))
		m.AwaitGeneration(t, before+1)
		l.more(t, 8) // Envoy's workers learn of a change a moment after it is acknowledged
		w.mu.Lock()
		w.on = detailsAborts(i)
		w.mu.Unlock()
		w.change()
		l.more(t, 16)
		w.change()
	}
	l.end(t)
	wantShare(t, "aborted on the way to reviews", int(aborted.Load()), int(l.sent.Load()), 0.2)
	wantShare(t, "aborted on the way to details", w.counts[1].aborted, w.counts[1].all, 0.1)
	if n := w.counts[0]; n.aborted != 0 || min(n.all, w.counts[1].all) < 200 {
		t.Errorf("%d of %d aborted on the way to details while no rule said so", n.aborted, n.all)
	}
}

// detailsAborts tells whether a tenth of the requests to details is to fail after the i-th change.
func detailsAborts(i int) bool { return i%6 >= 4 && i%7 != 3 }

// churn is the i-th variation of what stands behind the gateway.
func churn(i int) string {
	parts := []string{throughGatewayOnce, churnReviews(i)}
	if i%7 != 3 {
		parts = append(parts, churnDetails(i))
	}
	if i%3 == 1 {
		parts = append(parts, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http: [{timeout: %ds, route: [{destination: {host: ratings}}]}]
`, i%4+5))
	}
	return strings.Join(parts, "---\n")
}

const throughGatewayOnce = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: through-gateway}
spec:
  hosts: ["*"]
  gateways: [bookshop]
  http: [{retries: {attempts: 0}, route: [{destination: {host: productpage}}]}]
`

// churnReviews: subsets of new names every other time, all policies that make clusters anew, and a fifth aborted.
func churnReviews(i int) string {
	name := fmt.Sprintf("x%d", i/2)
	lb := []string{"simple: ROUND_ROBIN", "simple: RANDOM", "simple: LEAST_REQUEST", "consistentHash: {httpHeaderName: x-request-id}"}[i%4]
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {%[2]s}
    connectionPool: {tcp: {maxConnections: %[3]d}, http: {http1MaxPendingRequests: %[3]d}}
  subsets:
  - {name: %[1]s-one, labels: {version: v1}}
  - {name: %[1]s-two, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
  - {name: %[1]s-three, labels: {version: v3}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - fault: {abort: {httpStatus: 418, percentage: {value: 20}}}
    retries: {attempts: 0}
    timeout: %[4]ds
    route:
    - {destination: {host: reviews, subset: %[1]s-one}, weight: %[5]d}
    - {destination: {host: reviews, subset: %[1]s-two}, weight: %[6]d}
    - {destination: {host: reviews, subset: %[1]s-three}, weight: 30}
`, name, lb, 1000+i, i%3+10, i%70, 70-i%70)
}

// churnDetails: a second Service for the same workload comes and goes together with the route to it, and a fault.
func churnDetails(i int) string {
	var fault []string
	if detailsAborts(i) {
		fault = append(fault, "abort: {httpStatus: 419, percentage: {value: 10}}")
	}
	if i%5 == 0 {
		fault = append(fault, "delay: {fixedDelay: 5ms, percentage: {value: 50}}")
	}
	faults := ""
	if len(fault) > 0 {
		faults = "fault: {" + strings.Join(fault, ", ") + "}"
	}
	route, service := "- {destination: {host: details}}", ""
	if i%8 >= 4 {
		next := fmt.Sprintf("details-%d", i/8)
		route = fmt.Sprintf("- {destination: {host: details}, weight: 50}\n    - {destination: {host: %s}, weight: 50}", next)
		service = fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {selector: {app: details}, ports: [{name: http, port: 9080}]}\n", next)
	}
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: details}
spec:
  hosts: [details]
  http:
  - retries: {attempts: 0}
    %s
    route:
    %s
`, faults, route) + service
}
