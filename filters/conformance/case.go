package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Case is one entry of the corpus: a configuration, requests, and what must become of them.
type Case struct {
	// Title says what is promised, in words. Unique in the corpus.
	Title string `yaml:"case"`
	// Area is the name of the file, without its ending: "canary".
	Area string `yaml:"-"`
	// Feature is the heading that it stands under: a comment "# --- stickiness" in the file.
	Feature string `yaml:"-"`
	// Config is the listener's configuration, as registry.Parse takes it.
	Config JSON `yaml:"config"`
	// Routes stand before the routes that every case has (see Route).
	Routes []Route `yaml:"routes"`
	// Needs lists what a host must offer beyond a running proxy.
	Needs []Need `yaml:"needs"`
	// Alone keeps other cases from running in the same process at the same time: it is about state of the process.
	Alone bool `yaml:"alone"`
	// Not tells, by executor, why one cannot run this case, or differs from it by design.
	Not map[string]string `yaml:"not"`
	// Steps are played in order.
	Steps []Step `yaml:"steps"`
	// Counters are the values of metrics after the last step, by "name{label,label}", labels in the metric's order.
	Counters map[string]int64 `yaml:"counters"`
}

// Need is something that only some hosts offer.
type Need string

// The needs.
const (
	// NeedClock is a clock moved by hand.
	NeedClock Need = "clock"
	// NeedSeed is randomness from a seed.
	NeedSeed Need = "seed"
)

// Route is an entry of the route table. Every case has, after its own, a route "by-cluster" for requests with
// x-mizzen-cluster, which goes to that cluster, and a route "default", which goes to the cluster "default".
// The table removes x-mizzen-route and x-mizzen-cluster towards the upstream.
type Route struct {
	Name string `yaml:"name"`
	// Prefix is of the path; "" is any.
	Prefix string `yaml:"prefix"`
	// Token, if set, must be the value of x-mizzen-route.
	Token   string `yaml:"token"`
	Cluster string `yaml:"cluster"`
	// Config is the route's own level; nil if it has none.
	Config JSON `yaml:"config"`
}

// Select chooses a route as the table of Route has it; header reads one of the request's headers. index is that of
// c.Routes, -1 for the routes that every case has.
func (c *Case) Select(header func(name string) (string, bool)) (index int, name, cluster string) {
	path, _ := header(":path")
	token, _ := header("x-mizzen-route")
	for i, r := range c.Routes {
		if strings.HasPrefix(path, r.Prefix) && (r.Token == "" || r.Token == token) {
			return i, r.Name, r.Cluster
		}
	}
	if cluster, ok := header("x-mizzen-cluster"); ok {
		return -1, "by-cluster", cluster
	}
	return -1, "default", "default"
}

// Clusters are the upstreams that every case has. They answer as Answer says.
func Clusters() []string { return []string{"default", "v1", "v2", "v3"} }

// Step is one request, or several alike, and what is expected of it.
type Step struct {
	// Send is "GET /path"; default "GET /".
	Send string `yaml:"send"`
	// Headers are "name: value"; "host: x" is the authority. {name} stands for what an earlier pattern caught.
	Headers []string `yaml:"headers"`
	// At is the time since the case began; zero: as soon as the step before has ended. By the wall clock it may be later,
	// but never nearer to the step before than written.
	At Duration `yaml:"at"`
	// Within is how soon after the step before, or around it, was sent the answer must be there for the expectation to
	// mean anything: later, what was taken may have come back. By the wall clock a later answer is not judged.
	Within Duration `yaml:"within"`
	// From is the client's address, default 127.0.0.1.
	From string `yaml:"from"`
	// Seed of the randomness; zero: any.
	Seed uint64 `yaml:"seed"`
	// Times repeats the request; default once.
	Times int `yaml:"times"`
	// Leaves, if not zero, is when the client goes away.
	Leaves Duration `yaml:"leaves"`
	// Answer is what the upstream answers; default 200 without more.
	Answer Answer `yaml:"answer"`
	// While says where this request is when the steps of Meanwhile are played: "delayed", or "upstream" (it has
	// reached the upstream, which has not answered yet).
	While     string `yaml:"while"`
	Meanwhile []Step `yaml:"meanwhile"`
	Expect    Expect `yaml:"expect"`
}

// Answer is an upstream's response.
type Answer struct {
	Status  int      `yaml:"status"`
	Headers []string `yaml:"headers"`
}

// Expect is what must be seen. What is left out is not looked at. Header lists hold "name: pattern" (see Pattern), or
// "!name" for a header that must not be there.
type Expect struct {
	Status int     `yaml:"status"`
	Body   *string `yaml:"body"` // of a local reply
	// Details is the response code detail, as the access log has it.
	Details string `yaml:"details"`
	// Cluster is the upstream that got the request; "none": no upstream did.
	Cluster string `yaml:"cluster"`
	Route   string `yaml:"route"`
	// Upstream and Response are headers as the upstream and the client got them.
	Upstream []string `yaml:"upstream"`
	Response []string `yaml:"response"`
	// Waited is how long the request was held back. By the wall clock it may be a little longer.
	Waited *Duration `yaml:"waited"`
	// WaitedMost, beside Waited, allows for longer waits up to this.
	WaitedMost Duration `yaml:"waitedMost"`
	// Gone: the client left without an answer, or its stream was reset.
	Gone bool `yaml:"gone"`
	// Annotations are dynamic metadata of namespace "mizzen"; null: must not be there.
	Annotations map[string]*string `yaml:"annotations"`
	// Flags are the access log's, in order; empty but not nil: none.
	Flags []string `yaml:"flags"`
	// Shares, of a repeated step: the part of the requests that have a feature: a cluster, a status, or a flag.
	// Several features in one name ("DI FI") must come together. Within 5 sigma; 0 and 1 exactly.
	Shares map[string]float64 `yaml:"shares"`
	// Same, of a repeated step: every request went to one cluster, whichever.
	Same bool `yaml:"same"`
}

// Duration is a time.Duration that YAML writes "1.5s".
type Duration time.Duration

// UnmarshalYAML reads "1.5s".
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*d = Duration(v)
	return nil
}

// JSON is a document that the corpus writes as YAML.
type JSON []byte

// UnmarshalYAML turns the document into JSON.
func (j *JSON) UnmarshalYAML(n *yaml.Node) error {
	var v any
	err := n.Decode(&v)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*j, err = json.Marshal(v)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// method and path split Send.
func (s *Step) request() (method, path string) {
	method, path, ok := strings.Cut(s.Send, " ")
	if !ok {
		return "GET", "/"
	}
	return method, path
}

// LongestReal is the longest time that a case may take on an executor that runs by the wall clock.
const LongestReal = 3 * time.Second

// Span is how long the case takes by its own clock: until its last step begins.
func (c *Case) Span() (d time.Duration) {
	for i := range c.Steps {
		d = max(d, time.Duration(c.Steps[i].At))
	}
	return d
}

// NeedsSeed tells whether a step says which randomness it wants.
func (c *Case) NeedsSeed() bool {
	for i := range c.Steps {
		if c.Steps[i].Seed != 0 {
			return true
		}
	}
	return c.has(NeedSeed)
}

// NeedsClock tells whether the case can only be told by a clock moved by hand.
func (c *Case) NeedsClock() bool { return c.has(NeedClock) || c.Span() > LongestReal }

func (c *Case) has(n Need) bool {
	for _, x := range c.Needs {
		if x == n {
			return true
		}
	}
	return false
}
