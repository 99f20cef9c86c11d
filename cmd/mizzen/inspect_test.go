package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func mizzen(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = execute(context.Background(), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

func TestAnalyze(t *testing.T) {
	const good = "apiVersion: v1\nkind: Service\nmetadata: {name: reviews}\nspec: {ports: [{name: http, port: 80}]}\n"
	const typo = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec: {hosts: [a], htp: []}\n"
	write := func(s string) string {
		file := filepath.Join(t.TempDir(), "a.yaml")
		if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, cmd := range []string{"validate", "analyze"} {
		file := write(good)
		if code, out, err := mizzen(t, "", cmd, "-f", file); code != 0 || out != "✔ No validation issues found when analyzing "+file+".\n" {
			t.Errorf("%s: %d %q %q", cmd, code, out, err)
		}
		file = write(typo)
		code, out, _ := mizzen(t, "", cmd, "-f", file)
		if code != exitFindings || !strings.Contains(out, "Error [IST0106] (VirtualService default/x) "+file+":4:") || !strings.Contains(out, `"http"`) {
			t.Errorf("%s: %d %q", cmd, code, out)
		}
		code, out, _ = mizzen(t, "", cmd, "-f", file, "-o", "json")
		var list []map[string]any
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != exitFindings || len(list) == 0 || list[0]["severity"] != "Error" {
			t.Errorf("%s -o json: %d %v %s", cmd, code, err, out)
		}
		for _, wrong := range [][]string{{"validate"}, {"analyze", "--use-kube=false"}, {cmd, "-f", file, "-o", "xml"}, {cmd, "-f", file, "--failure-threshold", "x"},
			{cmd, "-f", file, "--output-threshold", "x"}, {cmd, "-f", file, "-S", "IST0103"}} {
			if code, _, err := mizzen(t, "", wrong...); code != exitUsage || !strings.HasPrefix(err, "error: ") {
				t.Errorf("%v: %d %q, want wrong usage", wrong, code, err)
			}
		}
	}
}

// fakeProxies is a state file whose proxies' admin pages and control plane are answered by this process.
func fakeProxies(t *testing.T) {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
	}
	answer("/config_dump", `{"configs":[{"dynamic_active_clusters":[{"cluster":{"name":"outbound|80|v1|reviews.default.svc.cluster.local","type":"EDS"}}]}]}`)
	answer("/clusters", `{"cluster_statuses":[{"name":"c","host_statuses":[{"address":{"socket_address":{"address":"10.0.0.1","port_value":80}}}]}]}`)
	answer("/debug/syncz", `[{"proxy":"reviews-v1-0.default","id":"x","synced":true,"envoy":"1.39.3","without":["EnvoyFilter default/lua a.yaml:3: no Lua"],"types":{"cds":{"state":"SYNCED","resources":3},"lds":{"state":"ERROR","error":"no"}}}]`)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	admin := strings.TrimPrefix(srv.URL, "http://")
	s := state.State{ControlPlane: state.ControlPlane{HTTP: srv.URL}, Workloads: []state.Workload{
		{Name: "reviews-v1-0", Namespace: "default", Admin: admin}, {Name: "reviews-v2-0", Namespace: "default", Admin: admin}, {Name: "bare", Namespace: "default"}},
		Gateways: []state.Gateway{{Name: "gw", Pod: "gw-0", Namespace: "istio-system", Admin: admin}}}
	file := filepath.Join(t.TempDir(), "mesh.json")
	if err := s.Write(file); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MIZZEN_STATE", file)
}

func TestProxyCommands(t *testing.T) {
	fakeProxies(t)
	dump := `{"configs":[{"dynamic_route_configs":[{"route_config":{"name":"80","virtual_hosts":[{"name":"80/a:80","domains":["a:80"],"routes":[{"match":{"prefix":"/"}}]}]}}]}]}`
	for _, x := range []struct {
		args  string
		stdin string
		code  int
		want  string // in what is printed
	}{
		{"proxy-status", "", 0, "reviews-v1-0.default"},
		{"proxy-status reviews", "", 0, "Listeners Don't Match: rejected: no"},
		{"proxy-status", "", 0, "reviews-v1-0.default goes without EnvoyFilter default/lua a.yaml:3: no Lua"},
		{"proxy-status reviews", "", 0, "goes without EnvoyFilter default/lua"},
		{"proxy-status -o short", "", 0, "2 (CDS,LDS)"},
		{"proxy-status -o json", "", 0, `"synced": true`},
		{"proxy-status nobody", "", 1, `none is named "nobody"`},
		{"proxy-config clusters reviews-v1-0", "", 0, "reviews.default.svc.cluster.local     80       v1"},
		{"pc c default/reviews-v1-0 --subset v2", "", 0, "SERVICE FQDN"},
		{"pc cluster gw-0.istio-system -o json", "", 0, `"outbound|80|v1|reviews.default.svc.cluster.local"`},
		{"pc endpoints reviews-v2-0", "", 0, "10.0.0.1:80     HEALTHY     OK                c"},
		{"pc endpoints gw.istio-system", "", 0, "10.0.0.1:80"},
		{"pc endpoints deploy/reviews-v2.default", "", 0, "10.0.0.1:80"},
		{"pc all reviews-v1-0", "", 0, "------ CLUSTER INFO ------"},
		{"pc routes -f -", dump, 0, "80       a:80           a           /*"},
		{"pc routes -f - -o yaml", dump, 0, "name: 80/a:80"},
		{"pc routes reviews", "", 1, "begins several: reviews-v1-0.default, reviews-v2-0.default"},
		{"pc routes bare", "", 1, "has no proxy"},
		{"pc routes", "", 2, "name a WORKLOAD"},
		{"pc nonsense", "", 2, `has no command "nonsense"`},
	} {
		code, out, err := mizzen(t, x.stdin, strings.Fields(x.args)...)
		if code != x.code || !strings.Contains(out+err, x.want) {
			t.Errorf("%s: %d, want %d and %q in:\n%s%s", x.args, code, x.code, x.want, out, err)
		}
	}
}
