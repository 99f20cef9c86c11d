package golanghost

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/golanghost/harness"
)

// variant is one build of the harness.
type variant = harness.Variant

var plain, address, thread = harness.Plain(), harness.Address(), harness.Thread()

// script is a harness run in the making.
type script struct {
	t *testing.T
	b strings.Builder
}

func newScript(t *testing.T) *script { return &script{t: t} }

// do adds a command, each word of which is encoded but for the "=" between a name and its value.
func (s *script) do(words ...string) { s.b.WriteString(harness.Encode(words...) + "\n") }

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
	cmd := exec.Command(binary(s.t, v), library)
	cmd.Stdin = strings.NewReader(s.b.String())
	cmd.Env = append(os.Environ(), v.Env...)
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

// binary returns the path of the harness, built with gcc. Without gcc, or where it lacks the sanitizer, the test is
// skipped (fails, with MIZZEN_REQUIRE=1, if it is the plain one).
func binary(t *testing.T, v variant) string {
	t.Helper()
	path, err := harness.Build(v)
	if err != nil {
		if os.Getenv("MIZZEN_REQUIRE") == "1" && (v.Name == plain.Name || !errors.Is(err, harness.ErrSanitizer)) {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
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
