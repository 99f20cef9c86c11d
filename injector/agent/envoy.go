package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/supervisor"
)

// startEnvoy starts Envoy, and starts it again when it dies, with growing pauses.
func (a *Agent) startEnvoy(bootstrap string) (*supervisor.Process, error) {
	args := append([]string{
		"-c", bootstrap, "--disable-hot-restart", "--log-format", "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t",
	}, a.set.start.Args()...)
	if a.o.EnvoyLevel != "" {
		args = append(args, "-l", a.o.EnvoyLevel)
	}
	if a.o.EnvoyComponents != "" {
		args = append(args, "--component-log-level", a.o.EnvoyComponents)
	}
	if a.o.Paths.Override != "" {
		raw, err := os.ReadFile(a.o.Paths.Override)
		if err != nil {
			return nil, fmt.Errorf("read bootstrap override: %w", err)
		}
		args = append(args, "--config-yaml", string(raw))
	}
	env := slices.Concat(a.o.Environ(), a.set.start.Env, []string{
		// A Go module within Envoy must not check cgo pointers: see docs/architecture.md.
		"ENVOY_DYNAMIC_MODULES_SEARCH_PATH=" + a.o.Paths.Module, "GODEBUG=cgocheck=0",
	})
	return supervisor.Start(supervisor.Command{
		Name: "envoy", Path: a.o.Paths.Envoy, Args: args, Env: env, Inherit: true, Backoff: 200 * time.Millisecond, Grace: 3 * time.Second,
	}, a.o.Log)
}

// ask sends a request to Envoy's administration page and returns what it says, if it is 200.
func (a *Agent) ask(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d%s", a.set.admin, path), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	if err != nil {
		return nil, fmt.Errorf("ask Envoy for %s: %w", path, err)
	}
	return body, nil
}

// stats are Envoy's statistics whose names fit a regular expression.
func (a *Agent) stats(ctx context.Context, filter string) (map[string]int64, error) {
	raw, err := a.ask(ctx, http.MethodGet, "/stats?format=json&filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, err
	}
	var s struct {
		Stats []struct {
			Name  string `json:"name"`
			Value int64  `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read Envoy's statistics: %w", err)
	}
	out := map[string]int64{}
	for _, x := range s.Stats {
		out[x.Name] = x.Value
	}
	return out, nil
}

// notReady is why Envoy takes no traffic; nil: it does. It has to have had its clusters and listeners once; a configuration that it
// rejects later leaves it with those that it has.
func (a *Agent) notReady(ctx context.Context) error {
	if a.since() > 0 {
		return errors.New("it is draining")
	}
	s, err := a.stats(ctx, "^(cluster_manager.cds.update_success|listener_manager.lds.update_success|listener_manager.workers_started|server.state)$")
	if err != nil {
		return err
	}
	switch {
	case s["cluster_manager.cds.update_success"] == 0:
		return errors.New("no clusters yet: the control plane has sent none that it accepts")
	case s["listener_manager.lds.update_success"] == 0:
		return errors.New("no listeners yet: the control plane has sent none that it accepts")
	case s["server.state"] != 0 || s["listener_manager.workers_started"] == 0:
		return fmt.Errorf("no traffic is taken yet: state %d", s["server.state"])
	}
	return nil
}

// drain has inbound connections take leave, and the pod count as not ready. What the application sends still goes out.
func (a *Agent) drain(ctx context.Context) error {
	a.draining.CompareAndSwap(0, time.Now().UnixNano())
	_, err := a.ask(ctx, http.MethodPost, "/drain_listeners?inboundonly&graceful")
	return err
}

// end lets connections end, for as long as the mesh says, and stops Envoy.
func (a *Agent) end() {
	ctx := context.Background()
	a.o.Log.Info("ending: inbound connections take leave", "within", a.set.start.TerminationDrain, "untilNoneIsLeft", a.set.exitOnZero)
	if err := a.drain(ctx); err != nil {
		a.o.Log.Warn("Envoy does not drain", "error", err)
	}
	if a.set.exitOnZero {
		a.untilIdle(ctx)
	} else {
		time.Sleep(a.set.start.TerminationDrain - a.since())
	}
	a.envoy.Stop()
	a.o.Log.Info("Envoy has ended")
}

// own are the listeners of those who look at the proxy: their connections are not waited for.
var own = regexp.MustCompile(`^listener\.(admin|[^ ]*_(15020|15021|15090))\.`)

// untilIdle waits until no connection is left, or Envoy is gone.
func (a *Agent) untilIdle(ctx context.Context) {
	time.Sleep(a.set.minimumDrain - a.since())
	for {
		s, err := a.stats(ctx, `^listener\..*\.downstream_cx_active$`)
		if err != nil {
			return
		}
		left := int64(0)
		for name, n := range s {
			if !own.MatchString(name) {
				left += n
			}
		}
		if left == 0 {
			return
		}
		a.o.Log.Debug("connections are left", "count", left)
		time.Sleep(time.Second)
	}
}
