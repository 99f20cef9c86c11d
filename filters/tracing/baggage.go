package tracing

import (
	"slices"
	"strings"
)

// trimBaggage keeps the members that are allowed (nil: all), in order, as long as they fit into limit bytes. It
// returns the header's new value and how many members were left out; v itself if it may stay as it is.
func trimBaggage(v string, allow []string, limit int) (out string, dropped int) {
	if allow == nil && len(v) <= limit {
		return v, 0
	}
	var b strings.Builder
	for member := range strings.SplitSeq(v, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		size := len(member)
		if b.Len() > 0 {
			size++
		}
		if allow != nil && !slices.Contains(allow, memberName(member)) || b.Len()+size > limit {
			dropped++
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(member)
	}
	if dropped == 0 && len(v) <= limit {
		return v, 0
	}
	return b.String(), dropped
}

// memberName is what stands before the value and the properties of a baggage member.
func memberName(member string) string {
	if i := strings.IndexAny(member, "=;"); i >= 0 {
		member = member[:i]
	}
	return strings.TrimRight(member, " \t")
}
