package authz

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Rules by method, path, template, host and header; deny goes before allow, and no allow that holds is a refusal.
func TestOperations(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, pod(t, m, "robot"))
	m.Apply(t, policy("allow", `
  rules:
  - to: [{operation: {methods: [GET, HEAD], paths: [/public*, "/users/{*}/orders/{**}"], notPaths: [/public/secret]}}]
  - to: [{operation: {hosts: ["*.SHOP.example"]}}]
  - when: [{key: "request.headers[x-token]", values: [admin, "user-*"], notValues: [user-0]}]`)+"---\n"+policy("deny", `
  action: DENY
  rules: [{to: [{operation: {paths: ["*.exe"]}}]}]`))
	c.Await(t, "a refusal", hasCode(403), api+"/other")
	c.Await(t, "the second policy", hasCode(403), api+"/public/a.exe")
	for _, x := range []struct {
		method, path string
		header       string
		code         int
	}{
		{"GET", "/public/a", "", 200},
		{"POST", "/public/a", "", 403},
		{"GET", "/public/secret", "", 403},
		{"GET", "/public/x/../secret", "", 403},
		{"GET", "/public/a.exe", "", 403},
		{"GET", "/public/a?x=.exe", "", 200},
		{"GET", "/users/7/orders/", "", 200},
		{"GET", "/users/7/orders/1/items", "", 200},
		{"GET", "/users/7/8/orders/1", "", 403},
		{"GET", "/other", "x-token: admin", 200},
		{"GET", "/other", "x-token: user-1", 200},
		{"GET", "/other", "x-token: user-0", 403},
		{"GET", "/other", "x-token: nobody", 403},
		{"POST", "/b.exe", "x-token: admin", 403},
	} {
		var headers []string
		if x.header != "" {
			headers = []string{x.header}
		}
		a, err := c.Do(x.method, api+x.path, headers...)
		if err != nil || a.Code != x.code || x.code == 403 && a.Body != denied {
			t.Errorf("%s %s %s: got %d %q (%v), want %d", x.method, x.path, x.header, a.Code, a.Body, err, x.code)
		}
	}
}

// Where a request comes from, by address.
func TestSources(t *testing.T) {
	m := shared.Mesh(t)
	url := "http://" + address(t, m, "api") + ":9080/"
	m.Apply(t, policy("blocks", `
  action: DENY
  rules: [{from: [{source: {ipBlocks: [127.9.0.0/16], notIpBlocks: [127.9.9.9]}}]}]`))
	meshtest.Eventually(t, "the range is refused", func() bool { return get(t, "127.9.1.1", url) == 403 })
	for from, want := range map[string]int{"127.9.9.9": 200, "127.8.1.1": 200} {
		if got := get(t, from, url); got != want {
			t.Errorf("from %s: %d, want %d", from, got, want)
		}
	}
}

// Who calls is who the certificate says: by principal, namespace, service account and trust domain. A caller without a certificate is
// nobody.
func TestPrincipals(t *testing.T) {
	m := shared.Mesh(t)
	web, robot := m.From(t, pod(t, m, "web")), m.From(t, pod(t, m, "robot"))
	m.Apply(t, policy("people", `
  rules:
  - {from: [{source: {principals: [cluster.local/ns/front/sa/web]}}], to: [{operation: {paths: [/principal]}}]}
  - {from: [{source: {principals: ["*/sa/web", "cluster.local/ns/elsewhere/*"]}}], to: [{operation: {paths: [/pattern]}}]}
  - {from: [{source: {principals: ["*"]}}], to: [{operation: {paths: [/any]}}]}
  - {from: [{source: {namespaces: [front]}}], to: [{operation: {paths: [/namespace]}}]}
  - {from: [{source: {notNamespaces: [front]}}], to: [{operation: {paths: [/not]}}]}
  - {from: [{source: {serviceAccounts: [front/web, web]}}], to: [{operation: {paths: [/account]}}]}
  - {from: [{source: {trustDomains: [other.example]}}], to: [{operation: {paths: [/domain]}}]}
  - {when: [{key: source.serviceAccount, values: [robot]}], to: [{operation: {paths: [/when]}}]}`))
	robot.Await(t, "a refusal", hasCode(403), api+"/principal")
	plain := "http://" + address(t, m, "api") + ":9080"
	for path, want := range map[string][3]int{ // web, robot, no certificate
		"/principal": {200, 403, 403}, "/pattern": {200, 403, 403}, "/any": {200, 200, 403}, "/namespace": {200, 403, 403},
		"/not": {403, 200, 200}, "/account": {200, 403, 403}, "/domain": {403, 403, 403}, "/when": {403, 200, 403},
	} {
		if a := web.Must(t, api+path); a.Code != want[0] {
			t.Errorf("web at %s: %d, want %d", path, a.Code, want[0])
		}
		if a := robot.Must(t, api+path); a.Code != want[1] {
			t.Errorf("robot at %s: %d, want %d", path, a.Code, want[1])
		}
		if got := get(t, "127.9.1.1", plain+path); got != want[2] {
			t.Errorf("no certificate at %s: %d, want %d", path, got, want[2])
		}
	}
}

// spec: {} allows nothing, in its namespace only; the root namespace's is everybody's.
func TestScope(t *testing.T) {
	m := shared.Mesh(t)
	robot := m.From(t, pod(t, m, "robot"))
	t.Run("namespace", func(t *testing.T) {
		m.Apply(t, "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nothing}\nspec: {}\n")
		robot.Await(t, "nothing in default", hasCode(403), api)
		if a := robot.Must(t, "http://web.front:9080"); a.Code != 200 {
			t.Errorf("the other namespace answers %d", a.Code)
		}
	})
	t.Run("root", func(t *testing.T) {
		m.Apply(t, "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nothing, namespace: istio-system}\nspec: {}\n")
		robot.Await(t, "nothing anywhere", hasCode(403), "http://web.front:9080")
	})
	robot.Await(t, "everything without it", hasCode(200), api)
}

// At a gateway, by the name of its resource.
func TestGateway(t *testing.T) {
	m := shared.Mesh(t)
	out := m.ViaGateway()
	m.Apply(t, `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gate}
spec:
  targetRefs: [{kind: Gateway, group: networking.istio.io, name: front}]
  action: DENY
  rules: [{to: [{operation: {ports: ["80"], paths: [/admin*]}}]}]
`)
	a := out.Await(t, "a refusal at the gateway", hasCode(403), "/admin/1", "Host: api.example")
	if a.Body != denied {
		t.Errorf("got %q", a.Body)
	}
	if a := out.Must(t, "/", "Host: api.example"); a.Code != 200 {
		t.Errorf("another path: %d", a.Code)
	}
	// Awaited: a connection that the api's proxy took under the policy of another test is answered by that once more.
	m.From(t, pod(t, m, "robot")).Await(t, "the same path inside the mesh", hasCode(200), api+"/admin/1")
}

// A connection of plain TCP: a rule about requests allows none, and a rule about ports does.
func TestTCP(t *testing.T) {
	m := shared.Mesh(t)
	addr := address(t, m, "api") + ":6379"
	if !echoes(addr) {
		t.Fatal("the port does not answer without policies")
	}
	m.Apply(t, policy("requests", "  rules: [{to: [{operation: {methods: [GET]}}]}]"))
	meshtest.Eventually(t, "the connection is closed", func() bool { return !echoes(addr) })
	m.Apply(t, policy("data", `  rules: [{to: [{operation: {ports: ["6379"]}}]}]`))
	meshtest.Eventually(t, "the port is allowed", func() bool { return echoes(addr) })
}

func echoes(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	const ping = "*1\r\n$4\r\nPING\r\n"
	if _, err := io.WriteString(conn, ping); err != nil {
		return false
	}
	b := make([]byte, len(ping))
	n, err := io.ReadFull(conn, b)
	return err == nil && string(b[:n]) == ping
}

// A dry run refuses nothing, counts what it would, and the access log of a refusal names the rule.
func TestDryRunAndLog(t *testing.T) {
	m := shared.Mesh(t)
	name := pod(t, m, "robot")
	c := m.From(t, name)
	log := filepath.Join(t.TempDir(), "access.log")
	m.Apply(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: \"accessLogFile: %s\"}\n", log))
	m.Apply(t, strings.Replace(policy("try", "  action: DENY\n  rules: [{to: [{operation: {paths: [/tried]}}]}]"), "{name: try}",
		`{name: try, annotations: {istio.io/dry-run: "true"}}`, 1))
	m.Apply(t, policy("real", "  action: DENY\n  rules: [{to: [{operation: {paths: [/real]}}]}]"))
	c.Await(t, "the rule in force", hasCode(403), api+"/real")
	const shadow = `rbac\.istio_dry_run_deny_\.shadow_denied$`
	server := pod(t, m, "api")
	meshtest.Eventually(t, "the dry run counts", func() bool {
		if a := c.Must(t, api+"/tried"); a.Code != 200 {
			t.Fatalf("the dry run refused: %d", a.Code)
		}
		return m.Stat(t, server, shadow) > 0
	})
	const details = `"GET /real HTTP/1.1" 403 - rbac_access_denied_matched_policy[ns[default]-policy[real]-rule[0]] `
	meshtest.Eventually(t, "the log names the rule", func() bool {
		b, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(b), details)
	})
}
