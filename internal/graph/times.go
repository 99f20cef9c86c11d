package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// times are how many requests took how long: by the upper bound of a bucket, in milliseconds, those in it and in no lower one. Envoy's
// buckets, which are those of Istio's metrics: 0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000 ... A bucket begins where the one below ends. Nil: nobody knows.
type times map[float64]uint64

// histogram is one of Envoy's, as JSON: "cluster.NAME.upstream_rq_time", from the end of a request until the end of its answer.
type histogram struct {
	Name    string `json:"name"`
	Buckets []struct {
		Bound float64 `json:"upper_bound"`
		Count uint64  `json:"cumulative"` // since the proxy began, as opposed to the last interval
	} `json:"buckets"`
}

// cluster is the histogram's, by its name in statistics; "" if it is of something else.
func (h histogram) cluster() string {
	own, ok := strings.CutSuffix(h.Name, ".upstream_rq_time")
	if !ok {
		return ""
	}
	return strings.TrimPrefix(own, "cluster.")
}

func (h histogram) times() times {
	out := times{}
	for _, b := range h.Buckets {
		out[b.Bound] = b.Count
	}
	return out
}

// add takes the requests of x in, but for those that were there at a look before.
func (t times) add(x, before times) {
	for bound, n := range x {
		if was := before[bound]; was <= n { // else the proxy is another by now
			t[bound] += n - was
		}
	}
}

// quantile is the time within which a share of the requests were answered, as if those of a bucket lay evenly in it; 0: there are none.
func (t times) quantile(share float64) float64 {
	total := 0.0
	for _, n := range t {
		total += float64(n)
	}
	low, below := 0.0, 0.0
	for _, bound := range slices.Sorted(maps.Keys(t)) {
		n := float64(t[bound])
		if n > 0 && below+n >= share*total {
			return low + (bound-low)*(share*total-below)/n
		}
		low, below = bound, below+n
	}
	return 0
}

// timeText is a time in milliseconds, as exact as a bucket lets one say.
func timeText(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.1fs", ms/1000)
}
