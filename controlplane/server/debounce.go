package server

import "time"

// debounce gathers changes that come close together: it fires once it has been quiet for a while, and at the latest after
// max.
type debounce struct {
	quiet, max  time.Duration
	first, last time.Time // of the changes gathered; zero if none
}

// add notes a change and returns how long to wait before asking due.
func (d *debounce) add(now time.Time) time.Duration {
	if d.first.IsZero() {
		d.first = now
	}
	d.last = now
	return d.wait(now)
}

// wait is how long until it fires; 0 or less: now.
func (d *debounce) wait(now time.Time) time.Duration {
	return min(d.last.Add(d.quiet).Sub(now), d.first.Add(d.max).Sub(now))
}

// due tells whether to fire, and if so starts anew; else how long to wait on.
func (d *debounce) due(now time.Time) (fire bool, wait time.Duration) {
	if d.first.IsZero() {
		return false, 0
	}
	if w := d.wait(now); w > 0 {
		return false, w
	}
	d.first, d.last = time.Time{}, time.Time{}
	return true, 0
}
