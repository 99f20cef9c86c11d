package golanghost

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// variant is one build of the harness.
type variant struct {
	name  string
	flags []string
	env   []string
}

var (
	plain   = variant{name: "plain", flags: []string{"-O2"}}
	address = variant{
		name:  "address",
		flags: []string{"-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"},
		// Go's memory is no business of the leak checker's, and Go needs its own signal handlers.
		env: []string{"ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0"},
	}
	// thread sees the harness, and what it shares with Go; not what Go shares with itself: a library built with Go's
	// race detector cannot be loaded by dlopen (its runtime finds its address range taken).
	thread = variant{name: "thread", flags: []string{"-O1", "-g", "-fsanitize=thread"}, env: []string{"TSAN_OPTIONS=halt_on_error=1"}}
)

// script is a harness run in the making.
type script struct {
	t *testing.T
	b strings.Builder
}

func newScript(t *testing.T) *script { return &script{t: t} }

// do adds a command, each word of which is encoded but for the "=" between a name and its value.
func (s *script) do(words ...string) {
	for i, w := range words {
		if i > 0 {
			s.b.WriteByte(' ')
		}
		name, value, pair := strings.Cut(w, "=")
		s.b.WriteString(encode(name))
		if pair {
			s.b.WriteString("=" + encode(value))
		}
	}
	s.b.WriteByte('\n')
}

func encode(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c == '%' || c == '=' || c >= 127 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// config makes a configuration: level "listener" or "route", JSON in a TypedStruct.
func (s *script) config(name, level, json string) {
	s.t.Helper()
	s.do("config", name, level, typedStruct(s.t, json))
}

func typedStruct(t *testing.T, json string) string {
	t.Helper()
	var value structpb.Struct
	if err := protojson.Unmarshal([]byte(json), &value); err != nil {
		t.Fatalf("%v in %s", err, json)
	}
	b, err := proto.Marshal(&value)
	if err != nil {
		t.Fatal(err)
	}
	b = append(protowire.AppendTag(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "type.googleapis.com/mizzen"), 2, protowire.BytesType),
		protowire.AppendBytes(nil, b)...)
	return serialize(t, &anypb.Any{TypeUrl: "type.googleapis.com/xds.type.v3.TypedStruct", Value: b})
}

func serialize(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// run is what a harness run printed.
type run struct {
	t       *testing.T
	text    string
	streams map[int]*exchange
	order   []*exchange
	metrics map[string]int
	lines   map[string][]string // everything else, by its first word
}

// exchange is one stream as its report tells it.
type exchange struct {
	upstream, answer map[string]string // nil: did not get there. Repeated headers are joined with ","
	metadata         map[string]string
	trailers         map[string]string // of the request, upstream
	answerTrailers   map[string]string
	body, answerBody string
	details          string
	facts            map[string]string // ms, cleared, direct, request, response
}

func (e *exchange) took() time.Duration {
	ms, _ := strconv.Atoi(e.facts["ms"])
	return time.Duration(ms) * time.Millisecond
}

// run runs the script against a library.
func (s *script) run(v variant, library string) *run {
	s.t.Helper()
	cmd := exec.Command(harness(s.t, v), library)
	cmd.Stdin = strings.NewReader(s.b.String())
	cmd.Env = append(os.Environ(), v.env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("harness: %v\n%s\n%s", err, tail(out), tail(errs.Bytes()))
	}
	return parse(s.t, string(out))
}

func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }

func parse(t *testing.T, text string) *run {
	t.Helper()
	r := &run{t: t, text: text, streams: map[int]*exchange{}, metrics: map[string]int{}, lines: map[string][]string{}}
	for line := range strings.Lines(text) {
		what, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		id, isStream := strings.CutPrefix(rest, "#")
		switch {
		case isStream:
			id, rest, _ := strings.Cut(id, " ")
			n, err := strconv.Atoi(id)
			if err != nil {
				t.Fatalf("line %q", line)
			}
			r.stream(n).read(what, rest)
		case what == "metric":
			name, value, _ := strings.Cut(rest, " ")
			r.metrics[name], _ = strconv.Atoi(value)
		default:
			r.lines[what] = append(r.lines[what], rest)
		}
	}
	return r
}

func (r *run) stream(n int) *exchange {
	if r.streams[n] == nil {
		r.streams[n] = &exchange{}
		r.order = append(r.order, r.streams[n])
	}
	return r.streams[n]
}

func (e *exchange) read(what, rest string) {
	switch what {
	case "upstream":
		e.upstream = pairs(rest)
	case "answer":
		e.answer = pairs(rest)
	case "metadata":
		e.metadata = pairs(rest)
	case "upstream-trailers":
		e.trailers = pairs(rest)
	case "answer-trailers":
		e.answerTrailers = pairs(rest)
	case "upstream-body":
		e.body = unescape(rest)
	case "answer-body":
		e.answerBody = unescape(rest)
	case "details":
		e.details = unescape(rest)
	case "stream":
		e.facts = pairs(rest)
	}
}

func pairs(text string) map[string]string {
	m := map[string]string{}
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		name, value = unescape(name), unescape(value)
		if before, ok := m[name]; ok {
			value = before + "," + value
		}
		m[name] = value
	}
	return m
}

func unescape(text string) string {
	out, err := url.PathUnescape(text)
	if err != nil {
		return text
	}
	return out
}

// built remembers the harnesses built by this process.
var built sync.Map

// harness returns the path of the harness, built with gcc. Without gcc, or where it lacks the sanitizer, the test is
// skipped (fails, with MIZZEN_REQUIRE=1, if it is the plain one).
func harness(t *testing.T, v variant) string {
	t.Helper()
	once, _ := built.LoadOrStore(v.name, sync.OnceValues(func() (string, error) { return compile(v) }))
	path, err := once.(func() (string, error))()
	if err != nil {
		if os.Getenv("MIZZEN_REQUIRE") == "1" && (v.name == plain.name || !errors.Is(err, errSanitizer)) {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

var errSanitizer = errors.New("gcc has no such sanitizer")

func compile(v variant) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("no C harness: %w", err)
	}
	root := envoytest.Root()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/envoyproxy/envoy")
	list.Dir = root
	dir, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find api.h of the contrib golang SDK: %w", err)
	}
	sources, err := filepath.Glob(filepath.Join(root, "integration/golanghost/testdata/harness/*.c"))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(root, "build"), 0o755); err != nil {
		return "", err
	}
	out := filepath.Join(root, "build", "golang-harness-"+v.name)
	args := append([]string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o", out,
		"-I" + filepath.Join(strings.TrimSpace(string(dir)), "contrib/golang/common/go/api"),
		"-I" + filepath.Join(root, "filters/host/golanghost"), filepath.Join(root, "filters/host/golanghost/memory.c")}, v.flags...)
	args = append(append(args, sources...), "-ldl", "-lpthread")
	msg, err := exec.Command(gcc, args...).CombinedOutput()
	if err != nil && strings.Contains(string(msg), "cannot find -l") || strings.Contains(string(msg), "libasan") || strings.Contains(string(msg), "libtsan") {
		return "", fmt.Errorf("%w: %s", errSanitizer, tail(msg))
	}
	if err != nil {
		return "", fmt.Errorf("compile the C harness: %w\n%s", err, msg)
	}
	return out, nil
}

// library is the library that is shipped; MIZZEN_GOLANG names a ready-made one.
func library(t *testing.T) string {
	t.Helper()
	if so := os.Getenv("MIZZEN_GOLANG"); so != "" {
		return so
	}
	return envoytest.BuildModule(t, "filters/cmd/golang", "mizzen-golang")
}

// probe is the library with the test policy.
func probe(t *testing.T) string {
	t.Helper()
	return envoytest.BuildModule(t, "filters/cmd/golangprobe", "golangprobe")
}
