package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// logLine is what the access log says about a request.
type logLine struct {
	ID          string            `json:"id"`
	Details     string            `json:"details"`
	Route       string            `json:"route"`
	Flags       string            `json:"flags"`
	CustomFlags string            `json:"custom_flags"`
	Metadata    map[string]string `json:"metadata"`
	// State is filter state by its name: where a wasm module annotates. nil values are not there.
	State map[string]*string `json:"state"`
}

// logFormat is the json_format that makes logLines.
func logFormat() obj {
	state := obj{}
	for _, k := range annotationKeys() {
		state[k] = "%FILTER_STATE(wasm.mizzen." + k + ":PLAIN)%"
	}
	return obj{
		"state":        state,
		"id":           "%REQ(" + idHeader + ")%",
		"details":      "%RESPONSE_CODE_DETAILS%",
		"route":        "%ROUTE_NAME%",
		"flags":        "%RESPONSE_FLAGS%",
		"custom_flags": "%CUSTOM_FLAGS%",
		"metadata":     "%DYNAMIC_METADATA(mizzen)%",
	}
}

// annotationKeys are the keys that policies annotate.
func annotationKeys() []string {
	return []string{"canary", "fault", "fault.owner", "fault.ticket", "ratelimit", "ratelimit_shadow", "trace_id", "panic", "flags"}
}

// accessLog reads Envoy's access log as it grows.
type accessLog struct {
	mu    sync.Mutex
	lines map[string]chan logLine // by request id
}

// followLog reads the file at path until the test ends. The file need not exist yet.
func followLog(t testing.TB, path string) *accessLog {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l := &accessLog{lines: map[string]chan logLine{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.Close()
		if err := l.follow(ctx, f); err != nil {
			t.Errorf("read the access log: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l
}

func (l *accessLog) follow(ctx context.Context, f io.Reader) error {
	r := bufio.NewReader(f)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var line []byte
	for {
		part, err := r.ReadBytes('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			var parsed logLine
			if err := json.Unmarshal(line, &parsed); err != nil {
				return fmt.Errorf("%w in %s", err, line)
			}
			l.of(parsed.ID) <- parsed
			line = line[:0]
			continue
		case !errors.Is(err, io.EOF):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (l *accessLog) of(id string) chan logLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.lines[id]
	if c == nil {
		c = make(chan logLine, 1)
		l.lines[id] = c
	}
	return c
}

// await returns the line of a request, for which it waits at most limit.
func (l *accessLog) await(id string, limit time.Duration) (logLine, error) {
	select {
	case line := <-l.of(id):
		return line, nil
	case <-time.After(limit):
		return logLine{}, fmt.Errorf("the access log says nothing about request %s", id)
	}
}

// split takes flags apart, which Envoy joins with commas.
func split(flags string) []string {
	if flags == "" || flags == "-" {
		return nil
	}
	return strings.Split(flags, ",")
}
