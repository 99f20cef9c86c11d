package scenarios

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

const oldRoutes = `
apiVersion: config.istio.io/v1alpha2
kind: RouteRule
metadata: {name: reviews-default}
spec:
  destination: {name: reviews}
  precedence: 1
  route:
  - labels: {version: v1}
    weight: 75
  - labels: {version: v2}
    weight: 25
---
apiVersion: config.istio.io/v1alpha2
kind: RouteRule
metadata: {name: reviews-jason}
spec:
  destination: {name: reviews}
  precedence: 2
  match:
    source: {name: productpage}
    request: {headers: {x-dev-user: {exact: jason}}}
  route:
  - labels: {version: v3}
  httpFault:
    abort: {percent: 100, httpStatus: 418}
`

const oldSecurity = `
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: reviews}
spec:
  targets: [{name: reviews}]
  peers: [{mtls: {}}]
---
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec:
  mode: ON_WITH_INCLUSION
  inclusion: {services: [reviews.default.svc.cluster.local, details.default.svc.cluster.local]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: reviews-viewer}
spec: {rules: [{services: [reviews.default.svc.cluster.local], methods: [GET]}]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: reviews-viewer}
spec:
  subjects: [{user: cluster.local/ns/default/sa/default}]
  roleRef: {kind: ServiceRole, name: reviews-viewer}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: details-viewer}
spec: {rules: [{services: [details.default.svc.cluster.local], methods: [GET]}]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: details-viewer}
spec:
  subjects: [{user: cluster.local/ns/default/sa/somebody-else}]
  roleRef: {kind: ServiceRole, name: details-viewer}
`

// The YAML of 2018 as it is: two RouteRules of one service, applied one after the other, are one VirtualService; a Policy asks for mutual
// TLS; ServiceRoles let through whom and what they name.
func TestOldYAML(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	first, second, _ := strings.Cut(oldRoutes, "---\n")
	m.Apply(t, first)
	m.Apply(t, second)
	c.Await(t, "the abort of precedence 2", hasCode(418), reviews, "x-dev-user: jason")
	const n = 1200
	got := c.Tally(t, n, version, reviews)
	wantShare(t, "v2", got["v2"], n, 0.25)
	wantShare(t, "v1", got["v1"], n, 0.75)
	if out, status := m.Run(t, "", "get", "virtualservice,routerule"); status != 0 || !strings.Contains(out, "reviews-jason") || strings.Count(out, "[\"reviews\"]") != 1 {
		t.Errorf("one VirtualService and the RouteRules that it is made of should be listed, status %d:\n%s", status, out)
	}

	m.Apply(t, oldSecurity)
	meshtest.Eventually(t, "plaintext is refused", func() bool { return !plain(t, m, "reviews-v1-0") })
	c.Await(t, "the page may read reviews", hasCode(200), reviews)
	c.Await(t, "nobody here may read details", hasCode(403), "http://details:9080/")
	meshtest.Eventually(t, "the page may not write reviews", func() bool {
		a, err := c.Do("POST", reviews)
		return err == nil && a.Code == 403
	})
	if got := c.Tally(t, 100, code, reviews); got["200"] != 100 {
		t.Errorf("what a role allows passes: %v", got)
	}
}

// plain tells whether a workload's first port answers a caller without a sidecar.
func plain(t *testing.T, m *meshtest.Mesh, workload string) bool {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, w := range m.Ready.Workloads {
		if w.Name == workload {
			res, err := client.Get("http://" + w.Address + ":" + strconv.Itoa(w.Ports[0]) + "/")
			if err == nil {
				res.Body.Close()
			}
			return err == nil && res.StatusCode == http.StatusOK
		}
	}
	t.Fatalf("no workload %s", workload)
	return false
}
