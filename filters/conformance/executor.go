package conformance

import "time"

// Executor is a host that the corpus can be run against. To add one: implement Executor and Session (the in-process
// one is the shortest example), give it to Run in a test, and add it to the table of README.md.
type Executor interface {
	// Name is one lower-case word.
	Name() string
	// Refuses says why the case cannot be run here; "" if it can.
	Refuses(c *Case) string
	// Sees tells whether Outcomes of this executor carry an aspect. What it does not see is not compared.
	Sees(a Aspect) bool
	// Parallel is how many cases, and how many requests of a repeated step, may be in progress at once.
	Parallel() (cases, requests int)
	// Open prepares a case, from a fresh state. It is not called for cases that are refused.
	Open(c *Case) (Session, error)
}

// Session is one case being run.
type Session interface {
	// Do plays one request to its end.
	Do(r *Request) (*Outcome, error)
	// Counter reads a metric by "name{label,label}". settled tells whether a value is the one that is awaited:
	// where metrics come late, Counter waits for it within reason, and returns the last value otherwise.
	Counter(series string, settled func(int64) bool) (int64, error)
	// Close ends the case.
	Close()
}

// Aspect is something about an outcome that not every executor can see.
type Aspect string

// The aspects.
const (
	SeesDetails     Aspect = "details"
	SeesRoute       Aspect = "route"
	SeesAnnotations Aspect = "annotations"
	SeesFlags       Aspect = "flags"
	SeesCounters    Aspect = "counters"
	// SeesTime: waits are exact; otherwise up to Early shorter and up to Slack longer.
	SeesTime Aspect = "time"
)

// Where a request can be held while others run.
const (
	WhileDelayed  = "delayed"
	WhileUpstream = "upstream"
)

// Request is one request for a Session.
type Request struct {
	Method, Path string
	Headers      []string // "name: value"
	// At is when it is sent, since the session was opened; if that is past: now.
	At     time.Duration
	Source string
	Seed   uint64
	// Nth counts the requests of a repeated step from 0, so that each draws anew from Seed.
	Nth int
	// Leaves, if not zero, is when the client goes away.
	Leaves time.Duration
	Answer Answer
	// While and During: During is called once, when the request is where While says.
	While  string
	During func()
	// Sending is to be called with the time right before the request goes out, by executors that run by the wall clock.
	Sending func(now time.Time)
	// Watch: details, route, annotations or flags will be looked at.
	Watch bool
}

// Outcome is what became of a request.
type Outcome struct {
	// Gone: the client went away before there was an answer, or its stream was reset.
	Gone   bool
	Status int
	// Headers are the response's; names are lower case.
	Headers map[string][]string
	Body    string
	// Cluster and Upstream are the upstream that got the request, and its headers there; "" and nil if none did.
	Cluster  string
	Upstream map[string][]string
	Waited   time.Duration
	// Answered is when the answer was there; zero where time is moved by hand.
	Answered time.Time
	// The following are set if the request is watched and the executor sees them.
	Details     string
	Route       string
	Annotations map[string]string
	Flags       []string
}
