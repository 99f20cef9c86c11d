package canary

import (
	"fmt"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// lane is a compiled Lane; nil does nothing.
type lane struct {
	key   string
	start bool
}

// defaultLane is the baggage member's name if Lane.Key is empty.
const defaultLane = "mizzen-lane"

func newLane(l *Lane) (*lane, error) {
	if l == nil {
		return nil, nil
	}
	out := &lane{l.Key, l.Start}
	if out.key == "" {
		out.key = defaultLane
	}
	for i := range len(out.key) {
		if c := out.key[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0 {
			return nil, fmt.Errorf("lane.key: %q holds %q; write a token (RFC 9110)", out.key, string(c))
		}
	}
	return out, nil
}

// read returns the member that the policy follows, encoded as it came; "" for none. Where lanes start, what comes in
// is the client's word and is not followed.
func (l *lane) read(x *filter.Exchange) string {
	if l == nil || l.start {
		return ""
	}
	for _, h := range x.Request.All() {
		if h.Name != "baggage" {
			continue
		}
		if v, ok := member(h.Value, l.key); ok {
			return v
		}
	}
	return ""
}

// write puts the decision into baggage, in place of what came in.
func (l *lane) write(x *filter.Exchange, d *decision) {
	if l == nil || !l.start {
		return
	}
	rest, _ := l.others(x)
	if rest != "" {
		rest += ","
	}
	x.Request.Set("baggage", rest+l.key+"="+d.lane)
}

// clear removes a lane that came in where lanes start, when no rule decided.
func (l *lane) clear(x *filter.Exchange) {
	if l == nil || !l.start {
		return
	}
	rest, found := l.others(x)
	switch {
	case !found:
	case rest == "":
		x.Request.Remove("baggage")
	default:
		x.Request.Set("baggage", rest)
	}
}

// others returns the request's baggage without the lane, and whether the lane was in it.
func (l *lane) others(x *filter.Exchange) (rest string, found bool) {
	all, _ := x.Request.Joined("baggage")
	for all != "" {
		var m string
		m, all, _ = strings.Cut(all, ",")
		m = strings.Trim(m, " \t")
		if k, _, _ := strings.Cut(m, "="); strings.TrimRight(k, " \t") == l.key {
			found = true
			continue
		}
		if m == "" {
			continue
		}
		if rest != "" {
			rest += ","
		}
		rest += m
	}
	return rest, found
}

// member finds a member's value (without its properties) in a W3C baggage header.
func member(header, key string) (string, bool) {
	for header != "" {
		var m string
		m, header, _ = strings.Cut(header, ",")
		k, v, ok := strings.Cut(m, "=")
		if !ok || strings.Trim(k, " \t") != key {
			continue
		}
		v, _, _ = strings.Cut(v, ";")
		return strings.Trim(v, " \t"), true
	}
	return "", false
}

// encodeMember percent-encodes what a baggage value may not hold.
func encodeMember(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\",;\\%", c) >= 0 {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
