// Package ratelimit is the rate-limit service: proxies ask it, by Envoy's gRPC protocol, whether a request may pass
// under limits that hold over all proxies together. It counts in its own memory, or in Redis. See README.md.
package ratelimit

import (
	"context"
	"time"
)

// Rule is what one key is allowed. Comparable: equal rules decide alike.
type Rule struct {
	Requests uint32        // at least 1
	Per      time.Duration // at least 1ms
	Burst    uint32        // how many may come at once; at least 1. Of a sliding window: Requests.
	Sliding  bool          // sliding window instead of GCRA
	Bucket   bool          // token bucket instead of GCRA: Requests more at once, each Per from the key's first use
}

// Ask asks to count Times requests of Each hits under Key.
type Ask struct {
	Key   string
	Rule  Rule
	Each  uint32 // 0: look only, as if for one hit, and count nothing
	Times uint32 // at least 1; with Each 0 or Back it is 1
	Back  bool   // give Each hits back that were counted before
}

// Answer says how many of an Ask's requests were counted.
type Answer struct {
	Granted   uint32        // at most Times: the others do not fit
	Remaining uint32        // hits that may still come at once
	Reset     time.Duration // until the whole quota is back
	Retry     time.Duration // until Each fits; 0 if all were granted
	Err       error         // the store could not decide; the other fields are then zero
}

// Store counts. Its answers hold for all who share the store.
type Store interface {
	// Take decides every ask on its own and counts what it grants. It returns one answer for each ask, in their order.
	Take(ctx context.Context, asks []Ask) []Answer
}
