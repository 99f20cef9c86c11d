package run

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/status"
)

// What the proxies of a replica complain of is in its note, for the leader, which alone writes into objects: JSON, a complaint a line.

// longestText is how many bytes of one complaint's message a note has at most.
const longestText = 1000

// noteOf is the note of complaints: those about objects, errors first, as many as have room.
func noteOf(complaints []server.Complaint) string {
	complaints = slices.DeleteFunc(slices.Clone(complaints), func(c server.Complaint) bool { return c.What.Object.Name == "" })
	slices.SortStableFunc(complaints, func(a, b server.Complaint) int { return cmp.Compare(b.What.Severity, a.What.Severity) })
	var out strings.Builder
	for _, c := range complaints {
		if m := c.What.Message; len(m) > longestText {
			c.What.Message = strings.ToValidUTF8(m[:longestText], "") + "..."
		}
		line, err := json.Marshal(c)
		if err != nil {
			continue // text alone, which has no error
		}
		if out.Len()+len(line)+1 > status.LongestNote {
			break
		}
		out.Write(append(line, '\n'))
	}
	return out.String()
}

// complaintsOf reads notes. What cannot be read, as of a replica of another version, is left out.
func complaintsOf(notes []string) (out []server.Complaint) {
	for _, note := range notes {
		for line := range strings.Lines(note) {
			var c server.Complaint
			if err := json.Unmarshal([]byte(line), &c); err == nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// complaints are what this replica's proxies say, and what the hosts of policies that they have cannot do.
func (p *publisher) complaints() []server.Complaint {
	out := p.server.Complaints()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.unfit {
		out = append(out, server.Complaint{What: d})
	}
	return out
}

// written are the diagnostics that the leader writes into objects.
func (p *publisher) written(notes []string) istio.Diagnostics {
	return p.server.Diagnostics(complaintsOf(notes)...)
}
