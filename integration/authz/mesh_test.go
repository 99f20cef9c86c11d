// Package authz shows AuthorizationPolicies and RequestAuthentications on real Envoys run by `mizzen up`, by what a client is answered.
// One mesh serves every test; each takes away what it applied.
package authz

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/shop"}

func TestMain(m *testing.M) { shared.Main(m) }

const api = "http://api.default:9080"

// denied is Istio's own answer.
const denied = "RBAC: access denied"

func hasCode(c int) func(meshtest.Answer) bool {
	return func(a meshtest.Answer) bool { return a.Code == c }
}

// pod is the whole name of a workload.
func pod(t *testing.T, m *meshtest.Mesh, prefix string) string {
	t.Helper()
	for _, w := range m.Ready.Workloads {
		if strings.HasPrefix(w.Name, prefix) {
			return w.Name
		}
	}
	t.Fatalf("no workload %s in %+v", prefix, m.Ready.Workloads)
	return ""
}

func address(t *testing.T, m *meshtest.Mesh, prefix string) string {
	t.Helper()
	name := pod(t, m, prefix)
	for _, w := range m.Ready.Workloads {
		if w.Name == name {
			return w.Address
		}
	}
	return ""
}

// policy is an AuthorizationPolicy of the api.
func policy(name, spec string) string {
	return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name + "}\nspec:\n" +
		"  selector: {matchLabels: {app: api}}\n" + spec + "\n"
}

// get sends a request from a local address, past every sidecar but the api's.
func get(t *testing.T, from, url string) int {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		return d.DialContext(ctx, network, addr)
	}}
	res, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Fatalf("GET %s from %s: %v", url, from, err)
	}
	res.Body.Close()
	return res.StatusCode
}
