package tracing_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

// listeners is an Envoy whose listeners come from a file.
type listeners struct {
	file string
	port int
	to   map[string]int
}

// write puts one listener into the file, as Envoy wants to see it: with a rename. It returns the whole bootstrap.
func (l listeners) write(t *testing.T, config string) static.Obj {
	t.Helper()
	var bootstrap struct {
		Resources struct {
			Listeners []static.Obj `json:"listeners"`
			Clusters  static.List  `json:"clusters"`
		} `json:"static_resources"`
	}
	text := static.Bootstrap(l.to, static.Listener{Name: "test", Port: l.port,
		Filters: static.List{static.ModuleFilter("mizzen", "mizzen", "mizzen", config)},
		Routes:  static.List{static.Route("everything", "/", "next", nil)}})
	if err := json.Unmarshal([]byte(text), &bootstrap); err != nil {
		t.Fatal(err)
	}
	listener := bootstrap.Resources.Listeners[0]
	listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener"
	b, err := json.Marshal(static.Obj{"version_info": config, "resources": static.List{listener}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.file+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.file+".new", l.file); err != nil {
		t.Fatal(err)
	}
	return static.Obj{
		"node":              static.Obj{"id": "n", "cluster": "c"},
		"static_resources":  static.Obj{"clusters": bootstrap.Resources.Clusters},
		"dynamic_resources": static.Obj{"lds_config": static.Obj{"path_config_source": static.Obj{"path": l.file}}},
	}
}

// TestUpdate changes the listener while spans wait. Those of an exporter that the new configuration names too go on
// waiting there; those of one that it does not name are sent at once.
func TestUpdate(t *testing.T) {
	app, box := envoytest.NewUpstream(t, "app"), newMailbox(t, nil)
	config := func(service string, more string) string {
		return fmt.Sprintf(`{"tracing":{"export":{"protocol":"zipkin","cluster":"collector","service":%q,"kind":"server","interval":"60s"}}%s}`, service, more)
	}
	l := listeners{filepath.Join(t.TempDir(), "lds.json"), envoytest.FreePort(t), map[string]int{"next": app.Port, "collector": box.Port}}
	b, err := json.Marshal(l.write(t, config("one", "")))
	if err != nil {
		t.Fatal(err)
	}
	e := envoytest.Start(t, envoytest.Options{Config: string(b)})
	get := func(path string) int {
		return e.Do(t, envoytest.NewRequest(t, "GET", fmt.Sprintf("http://127.0.0.1:%d%s", l.port, path), "")).Status
	}
	updated := func(n int64) {
		t.Helper()
		envoytest.Await(t, 30*time.Second, "the listener is changed", func() bool {
			return e.Stats(t, `^listener_manager\.lds\.update_success$`)["listener_manager.lds.update_success"] >= n
		})
	}
	updated(1)
	envoytest.Await(t, 30*time.Second, "the listener serves", func() bool { return get("/one") == 200 })
	const abort = `,"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":418}}]}`
	l.write(t, config("one", abort))
	updated(2)
	envoytest.Await(t, 30*time.Second, "the new configuration holds", func() bool { return get("/two") == 418 })
	if n := len(box.got()); n != 0 {
		t.Errorf("%d spans were sent, although the exporter goes on", n)
	}
	l.write(t, config("two", ""))
	updated(3)
	envoytest.Await(t, 30*time.Second, "the third configuration holds", func() bool { return get("/three") == 200 })
	envoytest.Await(t, 30*time.Second, "what waited in the first exporter is sent", func() bool {
		var paths []string
		for _, s := range box.got() {
			if s.LocalEndpoint.ServiceName != "one" {
				t.Fatalf("sent too early: %+v", s)
			}
			paths = append(paths, s.Tags["url.path"])
		}
		all := strings.Join(paths, " ")
		return strings.Contains(all, "/one") && strings.Contains(all, "/two")
	})
	if !e.Running() {
		t.Error("Envoy has ended")
	}
}
