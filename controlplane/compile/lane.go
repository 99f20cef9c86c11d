package compile

import (
	"fmt"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/filters/canary"
)

// LaneAnnotation makes a VirtualService start or follow a lane: see ParseLane.
const LaneAnnotation = "mizzen.dev/lane"

// ParseLane reads "start" (the edge: the decision goes out in baggage, and one that comes in is not believed), "follow" (a
// request goes where the lane says, if there is a destination of that name), each with ";key=NAME" for a baggage member of
// another name than mizzen-lane.
func ParseLane(v string) (*canary.Lane, error) {
	word, rest, more := strings.Cut(v, ";")
	l := &canary.Lane{}
	switch strings.TrimSpace(word) {
	case "start":
		l.Start = true
	case "follow":
	default:
		return nil, fmt.Errorf("%q is neither start nor follow", v)
	}
	if more {
		key, ok := strings.CutPrefix(strings.TrimSpace(rest), "key=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q: only key=NAME may follow the semicolon", v)
		}
		l.Key = key
	}
	if err := (&canary.Config{Lane: l}).Validate(); err != nil {
		return nil, fmt.Errorf("%q: %w", v, err)
	}
	return l, nil
}

// lane reads LaneAnnotation into r.Canary.
func (c *compiler) lane(r *rule) {
	m := &r.object.Meta
	v, ok := m.Annotations[LaneAnnotation]
	if !ok {
		return
	}
	l, err := ParseLane(v)
	if err != nil {
		c.report(m, annotationPath(LaneAnnotation), istio.Error, codeAnnotation, err.Error(), "write start, follow, or follow;key=NAME")
		return
	}
	if r.Canary == nil {
		r.Canary = &canary.Config{}
	}
	r.Canary.Lane = l
}
