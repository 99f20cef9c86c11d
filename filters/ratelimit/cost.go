package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// MaxHits bounds what one request can cost, as Envoy bounds it.
const MaxHits = 1_000_000_000

// cost is for how many requests one request counts.
type cost struct {
	number int64  // if header is empty
	header string // lower case
	max    int64
}

func costOf(h *HitsAddend) cost {
	switch {
	case h == nil:
		return cost{number: 1}
	case h.Header == "":
		return cost{number: int64(h.Number)}
	case h.Max == 0:
		return cost{header: strings.ToLower(h.Header), max: MaxHits}
	}
	return cost{header: strings.ToLower(h.Header), max: int64(h.Max)}
}

// of is what x costs, at least 1.
func (c *cost) of(x *filter.Exchange) int64 {
	if c.header == "" {
		return c.number
	}
	v, _ := x.Request.Joined(c.header) // repeated: no number
	return decimal(v, c.max)
}

// same tells whether all requests cost the same.
func (c *cost) same() bool { return c.header == "" }

// decimal reads a number without sign or leading zeros, at most limit; 1 if s is anything else.
func decimal(s string, limit int64) int64 {
	if s == "" || s[0] == '0' {
		return 1
	}
	n := int64(0)
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 1
		}
		n = min(n*10+int64(d), math.MaxUint32)
	}
	return min(n, limit)
}

func (l *Limit) validateCost() error {
	h := l.HitsAddend
	switch {
	case h == nil:
		return nil
	case l.Concurrency > 0:
		return errors.New("hitsAddend: a request in progress takes one place")
	case (h.Number == 0) == (h.Header == ""):
		return errors.New("hitsAddend: want either number, at least 1, or header")
	case h.Header == "" && h.Max != 0:
		return errors.New("hitsAddend: max is for a header")
	case strings.ContainsAny(h.Header, " \t\r\n:"):
		return fmt.Errorf("hitsAddend: header %q is no header's name", h.Header)
	case h.Number > MaxHits || h.Max > MaxHits:
		return fmt.Errorf("hitsAddend: want at most %d", MaxHits)
	case h.Header == "" && h.Number > cmp.Or(l.Burst, l.Requests) && len(l.Overrides) == 0:
		return fmt.Errorf("hitsAddend: number %d is over the limit's burst: no request could ever pass", h.Number)
	}
	return nil
}
