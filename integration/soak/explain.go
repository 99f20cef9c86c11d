package main

import (
	"fmt"
	"strings"
	"time"
)

// kind is what a request is about.
type kind int

const (
	plain  kind = iota // the canary draws
	tester             // the canary's first rule
	user               // the canary, sticky
	slow               // delayed
	upload             // delayed, with a body
	dead               // aborted
	keyed              // counted by key: see keyedLimit
	over               // one more than that
	hang               // delayed for long; the client goes away
	kinds
)

// keyedLimit is how many requests of a key pass.
const keyedLimit = 3

// shares of the kinds, in thousandths; over follows keyed.
var shares = [kinds]int{plain: 600, tester: 100, user: 100, slow: 60, upload: 30, dead: 80, keyed: 15, hang: 15}

// uploadSize is the length of an upload's body: more than one read of a socket.
const uploadSize = 20_000

// headers that make a request of the kind; who tells users and keys apart.
func (k kind) headers(who string) string {
	switch k {
	case tester:
		return "x-group: testers\r\n"
	case user:
		return "x-user: " + who + "\r\n"
	case slow:
		return "x-fault: slow\r\n"
	case upload:
		return fmt.Sprintf("x-fault: slow\r\ncontent-length: %d\r\n", uploadSize)
	case dead:
		return "x-fault: dead\r\n"
	case keyed, over:
		return "x-key: " + who + "\r\n"
	case hang:
		return "x-fault: hang\r\n"
	}
	return ""
}

// answer is what came back.
type answer struct {
	status int
	canary string // x-canary
	body   string
	took   time.Duration
}

// explain tells whether some configuration among routes accounts for a, and one among listeners for the sampling: nil,
// or why none does. There is at least one of each.
func explain(k kind, a answer, routes, listeners []generation) error {
	var reason error
	for _, g := range routes {
		if reason = g.explains(k, a); reason == nil {
			break
		}
	}
	if reason != nil || a.status != 200 {
		return reason
	}
	for _, g := range listeners {
		if g.sampled == (strings.Fields(a.body)[1] == "01") {
			return nil
		}
	}
	return fmt.Errorf("sampling: %q, but no listener in force said so", a.body)
}

func (g generation) explains(k kind, a answer) error {
	want, rule := 200, "all"
	switch k {
	case tester:
		rule = "testers"
	case user:
		rule = "users"
	case dead:
		want = g.abort
	case over:
		want = 429
	}
	if a.status != want {
		return fmt.Errorf("status %d instead of %d: %q", a.status, want, a.body)
	}
	side, ok := strings.CutPrefix(a.canary, rule+"/")
	weights := g.weights
	if k == tester {
		weights = [2]uint32{0, 1}
	}
	if !ok || side != "v1" && side != "v2" || weights[side[1]-'1'] == 0 {
		return fmt.Errorf("decision %q with weights %v", a.canary, weights)
	}
	if want != 200 {
		return nil
	}
	length := 0
	if k == upload {
		length = uploadSize
	}
	words := strings.Fields(a.body)
	if len(words) != 3 || words[0] != side || words[2] != fmt.Sprint(length) {
		return fmt.Errorf("decision %q, but the upstream says %q", a.canary, a.body)
	}
	if (k == slow || k == upload) && a.took < g.delay {
		return fmt.Errorf("took %v instead of %v", a.took, g.delay)
	}
	return nil
}
