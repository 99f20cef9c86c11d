package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// soak is one host under load.
type soak struct {
	host    host
	envoy   *envoytest.Envoy
	port    int
	dir     string
	log     *slog.Logger
	hist    history
	tally   tally
	samples []sample
	changes int
}

// begin starts Envoy with generation 0 in files of dir.
func begin(h host, bin, dir string, v1, v2 *upstream, log *slog.Logger) (*soak, error) {
	s := &soak{host: h, dir: dir, log: log.With("host", h.name())}
	_, ports, err := envoytest.Ports("port_value: 10000")
	if err != nil {
		return nil, err
	}
	s.port = ports[10000]
	if err := s.publish(0); err != nil {
		return nil, err
	}
	config, err := bootstrap(s.file("listeners"), v1.port, v2.port)
	if err != nil {
		return nil, err
	}
	// Every answer of an old listener tells its client to go to the new one. The old one ends after the drain time, and with
	// it what is still under way there: a time that a busy machine does not exceed.
	s.envoy, err = envoytest.Launch(bin, dir, envoytest.Options{Config: config, Module: h.module(), Concurrency: h.workers(),
		Args: []string{"--drain-strategy", "immediate", "--drain-time-s", "15"}, Env: []string{gcTrace}, ReadyTimeout: 5 * time.Minute}) // V8 compiles for long on a busy machine
	if err != nil && s.envoy != nil {
		s.envoy.Stop()
	}
	return s, err
}

func (s *soak) file(name string) string { return filepath.Join(s.dir, name+".json") }

// publish writes the n-th generation.
func (s *soak) publish(n int) error {
	g := newGeneration(n)
	s.hist.written.Store(int64(n))
	if err := publish(s.file("routes"), n, g.routes(s.host)); err != nil {
		return err
	}
	if n%listenerEvery != 0 {
		return nil
	}
	return publish(s.file("listeners"), n, g.listener(s.host, s.port, s.file("routes")))
}

// change publishes the next generation and waits until Envoy says that it uses it.
func (s *soak) change(ctx context.Context) error {
	s.changes++
	if err := s.publish(s.changes); err != nil {
		return err
	}
	want := map[string]string{`rds\.soak\.version_text`: fmt.Sprint(s.changes)}
	if s.changes%listenerEvery == 0 {
		want[`lds\.version_text`] = fmt.Sprint(s.changes)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for stat, version := range want {
		for {
			got, err := s.stat(stat)
			if err == nil && strings.Contains(got, `"`+version+`"`) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("generation %d is not in use: %s is %s (%v)", s.changes, stat, got, err)
			case <-tick.C:
			}
		}
	}
	s.hist.confirmed.Store(int64(s.changes))
	return nil
}

// stat reads the stats whose names match a regular expression, as text.
func (s *soak) stat(expr string) (string, error) {
	resp, err := http.Get("http://" + s.envoy.Admin() + "/stats?filter=" + url.QueryEscape(expr))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// run loads Envoy for d and changes its configuration every second.
func (s *soak) run(ctx context.Context, d time.Duration, connections int) {
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range connections {
		c := &client{addr: s.envoy.Addr(s.port), id: i, rand: rand.New(rand.NewPCG(1, uint64(i))), hist: &s.hist, all: &s.tally, log: s.log}
		clients.Go(func() { c.run(stop) })
	}
	end := time.After(d)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-end:
			running = false
		case <-tick.C:
			running = s.second(ctx)
		}
	}
	close(stop)
	clients.Wait()
	s.settle(ctx)
}

// second is what happens every second; false ends the soak.
func (s *soak) second(ctx context.Context) bool {
	m, err := measure(s.envoy.PID(), s.envoy.Log())
	if err == nil {
		s.samples = append(s.samples, m)
		err = s.change(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.fault("the configuration or the process", err)
		return false
	}
	return true
}

func (s *soak) fault(what string, err error) {
	s.tally.unexpected.Add(1)
	s.log.Error("unexpected: "+what, "error", err)
}

// settle checks what must hold when no request is in progress: nothing is held, nothing panicked, nothing was refused.
func (s *soak) settle(ctx context.Context) {
	if !s.envoy.Running() {
		s.fault("Envoy ended", fmt.Errorf("its log:\n%s", tail(s.envoy.Log())))
		return
	}
	for _, check := range []struct{ stat, what string }{
		{`fault_active`, "faults are held"}, {`panics_total`, "policies panicked"},
		{`update_rejected|route_config_errors_total`, "configurations were refused"},
	} {
		var n int64
		var err error
		for range 50 {
			if n, err = s.sum(check.stat); err == nil && n == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		if err != nil || n != 0 {
			s.fault(check.what, fmt.Errorf("%s: %d (%v)", check.stat, n, err))
		}
	}
	// A listener that drains may close a connection that waits for nothing; nothing else may.
	if most := int64(s.changes/listenerEvery+1) * 64; s.tally.closed.Load() > most {
		s.fault("connections closed", fmt.Errorf("%d, at most %d are explained", s.tally.closed.Load(), most))
	}
}

// sum adds up the stats whose names match a regular expression.
func (s *soak) sum(expr string) (int64, error) {
	resp, err := http.Get("http://" + s.envoy.Admin() + "/stats?format=json&filter=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var all struct {
		Stats []struct {
			Name  string
			Value json.Number
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return 0, fmt.Errorf("read Envoy's stats: %w", err)
	}
	var sum int64
	for _, st := range all.Stats {
		if n, err := st.Value.Int64(); err == nil {
			sum += n
		}
	}
	return sum, nil
}

func tail(log string) string { return log[max(0, len(log)-4000):] }

// subdir makes a folder for a host's files.
func subdir(dir, name string) (string, error) {
	sub := filepath.Join(dir, name)
	return sub, os.Mkdir(sub, 0o755)
}
