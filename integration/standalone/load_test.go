package standalone

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// flood sends n requests from several connections at once and returns how many got each status.
func flood(t *testing.T, e *envoytest.Envoy, n int, headers func(i int) []string) map[int]int {
	t.Helper()
	const connections = 16
	var (
		next atomic.Int64
		mu   sync.Mutex
		got  = map[int]int{}
		wg   sync.WaitGroup
	)
	for range connections {
		wg.Go(func() {
			// A transport of its own: Envoy spreads connections, not requests, over its workers.
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				req := envoytest.NewRequest(t, "GET", "http://"+e.Addr(10000)+"/", "", headers(i)...)
				resp, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				mu.Lock()
				got[resp.StatusCode]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return got
}

func TestLimitHoldsOverWorkers(t *testing.T) {
	for _, algorithm := range []string{"gcra", "tokenBucket", "slidingWindow"} {
		t.Run(algorithm, func(t *testing.T) {
			e, u := start(t, fmt.Sprintf(`{"probe":{},"ratelimit":{"limits":[{"name":"l","requests":100,"per":"10h","algorithm":%q}]}}`, algorithm), "", 2)
			got := flood(t, e, 1000, func(int) []string { return nil })
			if got[200] != 100 || got[429] != 900 || u.Requests() != 100 {
				t.Errorf("got %v, %d reached the upstream; want 100 times 200 and 900 times 429", got, u.Requests())
			}
			settled(t, e)
			counts := e.Stats(t, "mizzen.*ratelimit_requests")
			var ok, limited int64
			for name, n := range counts {
				if strings.Contains(name, "limited") {
					limited += n
				} else {
					ok += n
				}
			}
			if ok != 100 || limited != 900 {
				t.Errorf("counters say %d ok, %d limited: %v", ok, limited, counts)
			}
		})
	}
}

func TestManyRequestsLeakNothing(t *testing.T) {
	e, _ := start(t, `{"probe":{},"tracing":{},"ratelimit":{"limits":[{"name":"l","key":[{"header":"x-user"}],"requests":1000000,"per":"1s"}],"maxKeys":1000}}`, "", 2)
	kinds := []string{"", "wait=1ms", "reply=418", "panic", "mark", "reroute=v2", "lose=502", "call=upstream", "wait-response=1ms", "panic-end"}
	headers := func(i int) []string {
		return []string{"x-probe: " + kinds[i%len(kinds)], "x-user: u" + strconv.Itoa(i)}
	}
	const n = 8000
	flood(t, e, n, headers)
	before := rss(t, e.PID())
	got := flood(t, e, n, headers)
	if got[200] != n*8/10 || got[418] != n/10 || got[502] != n/10 {
		t.Errorf("answers: %v", got)
	}
	settled(t, e)
	if grown := rss(t, e.PID()) - before; grown > 16<<20 {
		t.Errorf("memory grew by %d KiB over %d requests", grown>>10, n)
	}
}

// rss is the resident memory of a process in bytes.
func rss(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
