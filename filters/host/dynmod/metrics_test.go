package dynmod

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// envoy remembers the metrics told to it.
type envoy struct {
	mu    sync.Mutex
	told  map[string]int64
	calls int
}

func (e *envoy) move(id uint64, _ bool, n int64, labels []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	e.told[fmt.Sprintf("%d%v", id, labels)] += n
}

var (
	requests = &filter.Metric{Name: "requests_total", Labels: []string{"side"}}
	active   = &filter.Metric{Name: "active", Gauge: true}
	strange  = &filter.Metric{Name: "strange_total", Labels: []string{"a", "b", "c", "d", "e"}}
)

func ledgerForTest() (*ledger, *envoy) {
	l := newLedger()
	l.ids[requests], l.ids[active], l.ids[strange] = 1, 2, 3
	return l, &envoy{told: map[string]int64{}}
}

func TestLedgerTellsWhenIdle(t *testing.T) {
	l, e := ledgerForTest()
	now := time.Unix(100, 0)
	l.begin(e, now)
	l.begin(e, now)
	for range 10 {
		l.count(e, requests, 1, []string{"v1"})
	}
	l.count(e, requests, 2, []string{"v2"})
	l.count(e, active, 1, nil)
	if e.calls != 0 || *l.flag == 0 {
		t.Errorf("%d calls while streams are in progress, flag %d", e.calls, *l.flag)
	}
	l.count(e, active, -1, nil)
	l.flush(e)
	want := map[string]int64{"1[v1]": 10, "1[v2]": 2}
	if !maps.Equal(e.told, want) || e.calls != 2 || *l.flag != 0 {
		t.Errorf("told %v in %d calls, want %v in 2", e.told, e.calls, want)
	}
}

func TestLedgerTellsInTime(t *testing.T) {
	l, e := ledgerForTest()
	now := time.Unix(100, 0)
	l.begin(e, now) // never ends
	l.count(e, requests, 1, []string{"v1"})
	l.begin(e, now.Add(flushEvery/2))
	if e.calls != 0 {
		t.Error("told too early")
	}
	l.begin(e, now.Add(flushEvery+time.Nanosecond))
	if e.told["1[v1]"] != 1 {
		t.Errorf("told %v", e.told)
	}
}

func TestLedgerTellsAtOnceWhatItCannotHold(t *testing.T) {
	l, e := ledgerForTest()
	l.begin(e, time.Unix(100, 0))
	l.count(e, strange, 1, []string{"1", "2", "3", "4", "5"})
	if e.told["3[1 2 3 4 5]"] != 1 {
		t.Errorf("many labels: told %v", e.told)
	}
	for i := range maxSeries + 5 {
		l.count(e, requests, 1, []string{strconv.Itoa(i)})
	}
	if e.calls != 1+5 {
		t.Errorf("%d calls before the end, want the 5 series too many and the one before", e.calls)
	}
	l.flush(e)
	if e.calls != 1+5+maxSeries {
		t.Errorf("%d calls, want %d", e.calls, 1+5+maxSeries)
	}
}

func TestLedgerAddsUpFromManyWorkers(t *testing.T) {
	l, e := ledgerForTest()
	const workers, each = 4, 2000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				l.begin(e, time.Unix(100, int64(i)))
				l.count(e, requests, 1, []string{"v" + strconv.Itoa(i%3)})
				l.count(e, active, 1, nil)
				l.count(e, active, -1, nil)
				if i%7 == 0 {
					l.flush(e)
				}
			}
		})
	}
	wg.Wait()
	l.flush(e)
	var sum int64
	for name, n := range e.told {
		if strings.HasPrefix(name, "1") {
			sum += n
		}
	}
	if sum != workers*each || e.told["2[]"] != 0 {
		t.Errorf("told %v, want %d in sum, and a gauge of 0", e.told, workers*each)
	}
}
