package graph

import (
	"context"
	"sync"
	"time"
)

// Live is the graph of proxies that is looked at again and again, by a page for instance. Safe for concurrent use.
type Live struct {
	// Proxies and Workloads are those of now. A workload may have no proxy.
	Proxies   func() []Proxy
	Workloads func() []Workload
	Now       func() time.Time

	mu     sync.Mutex
	looks  []Sample // the last one, and those before it that are young enough to tell a rate
	silent []error
}

// Bounds of what Live keeps: nobody is asked more often than every pause, and a rate is of at most span.
const (
	pause    = time.Second
	span     = 15 * time.Second
	patience = 2 * time.Second // with a proxy
)

// Graph is that of now, with the rates since up to 15 s ago, as far as somebody looked then. Proxies that did not answer are told of.
func (l *Live) Graph(ctx context.Context) (Graph, []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.looks); n == 0 || l.Now().Sub(l.looks[n-1].At) >= pause {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var s Sample
		s, l.silent = Look(ctx, l.Proxies(), l.Now)
		l.looks = append(l.looks, s)
		for len(l.looks) > 1 && s.At.Sub(l.looks[0].At) > span {
			l.looks = l.looks[1:]
		}
	}
	last := l.looks[len(l.looks)-1]
	var first Sample
	if len(l.looks) > 1 {
		first = l.looks[0]
	}
	return Of(l.Workloads(), first, last), l.silent
}
