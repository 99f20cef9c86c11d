package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/golanghost/harness"
)

// golang runs the contrib library in the C harness, which stands in for a contrib Envoy: a process for each case, under
// the address and undefined-behaviour sanitizers where gcc has them.
type golang struct {
	variant         harness.Variant
	binary, library string
}

func newGolang(t testing.TB) *golang {
	t.Helper()
	g := &golang{variant: harness.Address(), library: envoytest.BuildModule(t, "filters/cmd/golang", "mizzen-golang")}
	var err error
	if g.binary, err = harness.Build(g.variant); errors.Is(err, harness.ErrSanitizer) {
		g.variant = harness.Plain()
		g.binary, err = harness.Build(g.variant)
	}
	if err != nil {
		envoytest.Missing(t, err)
	}
	return g
}

// Name implements conformance.Executor.
func (*golang) Name() string { return "golang" }

// Refuses implements conformance.Executor.
func (*golang) Refuses(c *conformance.Case) string { return byWallClock(c) }

// Sees implements conformance.Executor.
func (*golang) Sees(a conformance.Aspect) bool { return a != conformance.SeesTime }

// Parallel implements conformance.Executor: a process of the harness has one thread that plays the worker.
func (*golang) Parallel() (cases, requests int) { return 6, 1 }

// Open implements conformance.Executor.
func (g *golang) Open(c *conformance.Case) (conformance.Session, error) {
	cmd := exec.Command(g.binary, g.library)
	cmd.Env = append(os.Environ(), g.variant.Env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &harnessSession{c: c, cmd: cmd, in: in, out: bufio.NewReader(out), pace: pace{ended: time.Now()}}
	cmd.Stderr = &s.errs
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the harness: %w", err)
	}
	if err := s.configure(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// harnessSession is one case in a process of the harness. Steps within steps come from the same goroutine.
type harnessSession struct {
	c      *conformance.Case
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errs   strings.Builder
	opened int // streams
	pace   pace
}

// configure parses the case's configurations, and merges as contrib does: listener, then route.
func (s *harnessSession) configure() error {
	s.do("config", "listener", "listener", harness.Config(string(s.c.Config)))
	for i, r := range s.c.Routes {
		route := []string{"route", "name=" + r.Name, "prefix=" + r.Prefix, "token=" + r.Token}
		if r.Config != nil {
			s.do("config", level(i), "route", harness.Config(string(r.Config)))
			s.do("merge", "merged-"+level(i), "listener", level(i))
			route = append(route, "config="+string(r.Config))
		}
		s.do(route...)
	}
	s.do("route", "name=by-cluster", "present=x-mizzen-cluster")
	s.do("route", "name=default")
	lines, err := s.sync()
	if err == nil && strings.Contains(strings.Join(lines, "\n"), "rejected") {
		err = fmt.Errorf("configuration refused: %q", lines)
	}
	return err
}

func level(i int) string { return "route-" + strconv.Itoa(i) }

func (s *harnessSession) do(words ...string) {
	// An error shows when the answer is read.
	_, _ = io.WriteString(s.in, harness.Encode(words...)+"\n")
}

// sync returns what the harness has printed up to now.
func (s *harnessSession) sync() (lines []string, err error) {
	s.do("echo", "synced")
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return lines, fmt.Errorf("the harness has ended: %w: %s", err, s.errs.String())
		}
		if line = strings.TrimSuffix(line, "\n"); line == "echo synced" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}

// Close implements conformance.Session.
func (s *harnessSession) Close() {
	s.in.Close()
	_ = s.cmd.Wait() // its status was of interest to sync
}

// Do implements conformance.Session.
func (s *harnessSession) Do(r *conformance.Request) (*conformance.Outcome, error) {
	s.pace.await(r.At)
	defer s.pace.end()
	s.opened++
	id := strconv.Itoa(s.opened)
	use := func() { s.do("use", id) }
	begun := time.Now()
	r.Sending(begun)
	s.open(r)
	s.do("request", "end")
	if r.While == conformance.WhileDelayed {
		if st, err := s.report(); err != nil || st.busy() {
			if err != nil {
				return nil, err
			}
			r.During()
			use()
		}
	}
	limit := r.Leaves
	if limit == 0 {
		limit = patience
	}
	s.do("wait", strconv.FormatInt(max(0, limit-time.Since(begun)).Milliseconds(), 10))
	st, err := s.report()
	if err != nil {
		return nil, err
	}
	if st.busy() {
		if r.Leaves == 0 {
			return nil, errors.New("the stream is still held")
		}
		s.do("destroy")
		return &conformance.Outcome{Gone: true, Waited: time.Since(begun), Answered: time.Now()}, nil
	}
	if st.answer == nil {
		if r.While == conformance.WhileUpstream {
			r.During()
			use()
		}
		s.do(append([]string{"answer"}, answerWords(r.Answer)...)...)
		s.do("wait", strconv.FormatInt(patience.Milliseconds(), 10))
	}
	o, err := s.outcome()
	if err == nil {
		o.Waited, o.Answered = time.Since(begun), time.Now()
	}
	return o, err
}

// open begins a stream with the configuration of its first route.
func (s *harnessSession) open(r *conformance.Request) {
	all := map[string]string{":path": r.Path}
	words := []string{":method=" + r.Method, ":path=" + r.Path, ":scheme=http", ":authority=127.0.0.1"}
	for _, h := range r.Headers {
		name, value, _ := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		if name == "host" {
			words[3] = ":authority=" + value
			continue
		}
		all[name] = value
		words = append(words, name+"="+value)
	}
	i, _, _ := s.c.Select(func(name string) (string, bool) { v, ok := all[name]; return v, ok })
	config := "listener"
	if i >= 0 && s.c.Routes[i].Config != nil {
		config = "merged-" + level(i)
	}
	s.do("from", r.Source+":4711")
	s.do(append([]string{"open", config}, words...)...)
}

func answerWords(a conformance.Answer) []string {
	words := []string{":status=200"}
	if a.Status != 0 {
		words[0] = ":status=" + strconv.Itoa(a.Status)
	}
	for _, h := range a.Headers {
		name, value, _ := strings.Cut(h, ":")
		words = append(words, name+"="+strings.TrimSpace(value))
	}
	return words
}

// told is what the harness reports of a stream.
type told struct {
	upstream, answer, metadata map[string][]string // nil: did not get there
	body, details, route       string
	facts                      map[string][]string
}

func (t *told) busy() bool { return strings.Join(t.facts["busy"], "") == "1" }

// report reads what the harness tells of the stream in use.
func (s *harnessSession) report() (*told, error) {
	s.do("report")
	lines, err := s.sync()
	return read(lines), err
}

// outcome ends the stream in use, and tells what became of it.
func (s *harnessSession) outcome() (*conformance.Outcome, error) {
	s.do("finish")
	lines, err := s.sync()
	if err != nil {
		return nil, err
	}
	t := read(lines)
	if t.answer == nil {
		return nil, fmt.Errorf("no answer: %q", lines)
	}
	o := &conformance.Outcome{Headers: t.answer, Body: t.body, Details: t.details, Route: t.route, Annotations: map[string]string{}}
	if o.Status, err = strconv.Atoi(strings.Join(t.answer[":status"], "")); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	delete(o.Headers, ":status")
	first := func(name string) (string, bool) {
		v := t.upstream[name]
		return strings.Join(v, ","), len(v) > 0
	}
	if t.upstream != nil {
		_, _, o.Cluster = s.c.Select(first)
		o.Upstream = maps.Clone(t.upstream)
		delete(o.Upstream, "x-mizzen-route")
		delete(o.Upstream, "x-mizzen-cluster")
	}
	for k, v := range t.metadata {
		if key, ok := strings.CutPrefix(k, "mizzen:"); ok {
			o.Annotations[key] = strings.Join(v, "")
		}
	}
	o.Flags = split(o.Annotations["flags"])
	return o, nil
}

func read(lines []string) *told {
	t := &told{}
	for _, line := range lines {
		what, rest, _ := strings.Cut(line, " ")
		_, rest, _ = strings.Cut(rest, " ") // the stream's number
		switch what {
		case "upstream":
			t.upstream = words(rest)
		case "answer":
			t.answer = words(rest)
		case "metadata":
			t.metadata = words(rest)
		case "stream":
			t.facts = words(rest)
		case "answer-body":
			t.body = unescape(rest)
		case "route":
			t.route = unescape(rest)
		case "details":
			t.details = unescape(rest)
		}
	}
	return t
}

func words(text string) map[string][]string {
	out := map[string][]string{}
	for _, w := range strings.Fields(text) {
		name, value, _ := strings.Cut(w, "=")
		out[unescape(name)] = append(out[unescape(name)], unescape(value))
	}
	return out
}

func unescape(text string) string {
	if out, err := url.PathUnescape(text); err == nil {
		return out
	}
	return text
}

// Counter implements conformance.Session.
func (s *harnessSession) Counter(series string, settled func(int64) bool) (int64, error) {
	name, labels, err := golangSeries(series)
	if err != nil {
		return 0, err
	}
	s.do("metrics")
	lines, err := s.sync()
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		if value, ok := strings.CutPrefix(line, "metric mizzen."+name+labels+" "); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, nil
}

// golangSeries is a series as the golang host names it: its labels are parts of the name.
func golangSeries(series string) (name, labels string, err error) {
	name, labels, err = labelled(series)
	return name, strings.NewReplacer(";", ".", "=", ".").Replace(labels), err
}
