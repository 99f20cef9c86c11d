package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// scrape is where the application's metrics are: Prometheus' annotations of the pod, before the injector turned them to the agent.
type scrape struct {
	Scrape string `json:"scrape"`
	Path   string `json:"path"`
	Port   string `json:"port"`
}

// counts are the agent's own metrics.
type counts struct{ scrapes, envoyFailures, appFailures atomic.Int64 }

// scraped reads ISTIO_PROMETHEUS_ANNOTATIONS, else the pod's own annotations; nil: the application has no metrics to be had.
func scraped(text string, annotations map[string]string, status uint32) (*scrape, error) {
	s := &scrape{}
	if text != "" {
		if err := json.Unmarshal([]byte(text), s); err != nil {
			return nil, fmt.Errorf("read ISTIO_PROMETHEUS_ANNOTATIONS: %w", err)
		}
	} else {
		*s = scrape{annotations["prometheus.io/scrape"], annotations["prometheus.io/path"], annotations["prometheus.io/port"]}
	}
	if s.Port == strconv.Itoa(int(status)) { // the agent itself
		return nil, nil
	}
	if on, err := strconv.ParseBool(s.Scrape); err != nil && s.Scrape != "" || err == nil && !on || s.Scrape == "" && s.Port == "" {
		return nil, nil
	}
	s.Path, s.Port = cmp.Or(s.Path, "/metrics"), cmp.Or(s.Port, "80")
	if !strings.HasPrefix(s.Path, "/") {
		s.Path = "/" + s.Path
	}
	return s, nil
}

// handleMetrics answers with Envoy's metrics, the agent's and the application's in one. What is not to be had is left out, and counted.
func (a *Agent) handleMetrics(w http.ResponseWriter, r *http.Request) {
	a.counts.scrapes.Add(1)
	ctx, cancel := context.WithTimeout(r.Context(), patience(r))
	defer cancel()
	var out bytes.Buffer
	if raw, err := a.ask(ctx, http.MethodGet, "/stats/prometheus"); err != nil {
		a.counts.envoyFailures.Add(1)
		a.o.Log.Debug("no metrics of Envoy", "error", err)
	} else {
		add(&out, raw)
	}
	if s := a.set.scrape; s != nil {
		if raw, err := s.fetch(ctx, r); err != nil {
			a.counts.appFailures.Add(1)
			a.o.Log.Debug("no metrics of the application", "error", err)
		} else {
			add(&out, raw)
		}
	}
	a.write(&out)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(out.Bytes())
}

// patience is what Prometheus has, a little less.
func patience(r *http.Request) time.Duration {
	s, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || s <= 0 {
		return 10 * time.Second
	}
	return time.Duration(s * float64(time.Second) * 0.9)
}

// add appends a text, without OpenMetrics' end, and with a line's.
func add(out *bytes.Buffer, raw []byte) {
	raw = bytes.TrimSuffix(bytes.TrimRight(raw, "\n"), []byte("# EOF"))
	out.Write(raw)
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		out.WriteByte('\n')
	}
}

// fetch gets the application's metrics, on loopback, where no interception is.
func (s scrape) fetch(ctx context.Context, from *http.Request) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", s.Port)+s.Path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	if t := from.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"); t != "" {
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", t)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the application says %s", resp.Status)
	}
	return raw, err
}

// write adds the agent's own, under Istio's names where Istio has them.
func (a *Agent) write(out *bytes.Buffer) {
	metric := func(name, kind, help, labels string, value int64) {
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s%s %d\n", name, help, name, kind, name, labels, value)
	}
	metric("istio_agent_scrapes_total", "counter", "Scrapes of the merged metrics.", "", a.counts.scrapes.Load())
	fmt.Fprintf(out, "# HELP istio_agent_scrape_failures_total Parts that a scrape could not get.\n# TYPE istio_agent_scrape_failures_total counter\n")
	fmt.Fprintf(out, "istio_agent_scrape_failures_total{type=\"envoy\"} %d\n", a.counts.envoyFailures.Load())
	fmt.Fprintf(out, "istio_agent_scrape_failures_total{type=\"application\"} %d\n", a.counts.appFailures.Load())
	if ends := a.ends.Load(); ends != 0 {
		metric("istio_agent_cert_expiry_seconds", "gauge", "Time until the workload's certificate ends.", `{resource_name="default"}`, ends-time.Now().Unix())
	}
	restarts := int64(0)
	if a.envoy != nil {
		restarts = int64(a.envoy.Restarts())
	}
	metric("mizzen_agent_envoy_restarts_total", "counter", "How often Envoy was started again.", "", restarts)
	connected := int64(0)
	if a.relay != nil && a.relay.passing.Load() {
		connected = 1
	}
	metric("mizzen_agent_control_plane_connected", "gauge", "1 while the control plane is heard, 0 while the last configuration serves.", "", connected)
}
