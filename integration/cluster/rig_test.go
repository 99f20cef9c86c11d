package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// patience bounds everything that is waited for: the machine may be busy.
const patience = 3 * time.Minute

// node is the cluster, and how to reach it.
type node struct {
	root, folder string
	before       string // everything that was there
}

// start brings up the node, unless there is one already (which then stays), with the images of today's sources.
func start(t *testing.T) *node {
	t.Helper()
	if os.Getenv("MIZZEN_CLUSTER") != "1" {
		t.Skip("it takes minutes, root and a node of its own: make test-cluster")
	}
	n := &node{root: envoytest.Root()}
	if n.folder = os.Getenv("MIZZEN_NODE"); n.folder == "" {
		n.folder = filepath.Join(n.root, ".cache", "node")
	}
	if os.Getenv("MIZZEN_IMAGES") != "built" {
		n.run(t, "", "go", "run", "./integration/cluster/images")
	}
	if _, err := n.try(t, "", "scripts/node", "kubectl", "version"); err == nil {
		n.run(t, "", "scripts/node", "load")
		return n
	}
	n.run(t, "", "scripts/node", "up")
	t.Cleanup(func() {
		if out, err := exec.Command(filepath.Join(n.root, "scripts", "node"), "down").CombinedOutput(); err != nil {
			t.Errorf("end the node: %v\n%s", err, out)
		}
	})
	return n
}

// try runs a command of the project's root with input, and returns its output.
func (n *node) try(t testing.TB, input string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	if strings.Contains(command[0], "/") && !filepath.IsAbs(command[0]) {
		cmd.Path = filepath.Join(n.root, command[0])
	}
	cmd.Dir = n.root
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(command, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (n *node) run(t testing.TB, input string, command ...string) string {
	t.Helper()
	out, err := n.try(t, input, command...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kubectl runs kubectl, which must not fail.
func (n *node) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return n.run(t, "", append([]string{"scripts/node", "kubectl"}, args...)...)
}

// admin is the kubeconfig of who may do everything.
func (n *node) admin() string { return filepath.Join(n.folder, "conf", "admin.kubeconfig") }

func (n *node) apply(t testing.TB, yaml string) {
	t.Helper()
	n.run(t, yaml, "scripts/node", "kubectl", "apply", "-f", "-")
}

func (n *node) remove(t testing.TB, yaml string) {
	t.Helper()
	n.run(t, yaml, "scripts/node", "kubectl", "delete", "-f", "-", "--ignore-not-found")
}

// mizzen runs the program of the images in the node's network.
func (n *node) mizzen(t testing.TB, args ...string) string {
	t.Helper()
	return n.run(t, "", append([]string{"scripts/node", "run", filepath.Join(n.folder, "programs", "mizzen")}, args...)...)
}

// install installs with the images of the test.
func (n *node) install(t testing.TB, args ...string) string {
	t.Helper()
	set := "global.tag=test,global.imagePullPolicy=Never"
	return n.mizzen(t, append([]string{"install", "--profile", "demo", "--set", set, "--timeout", patience.String()}, args...)...)
}

// rolled waits until Deployments are rolled out.
func (n *node) rolled(t testing.TB, namespace string, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = strings.Fields(n.kubectl(t, "get", "deploy", "-n", namespace, "-o", "name"))
	}
	for _, name := range names {
		n.kubectl(t, "rollout", "status", "-n", namespace, name, "--timeout", patience.String())
	}
}

// curl is run in the client's pod of a namespace, with a limit of its own; what it prints, and "curl: STATUS" if it fails.
func (n *node) curl(t testing.TB, namespace string, args ...string) string {
	t.Helper()
	out, err := n.try(t, "", append([]string{"scripts/node", "kubectl", "exec", "-n", namespace, "deploy/client", "-c", "client", "--", "curl", "-sS", "-m", "30"}, args...)...)
	if err != nil {
		return out + err.Error()
	}
	return out
}

// everything names the objects that an installation might leave.
func (n *node) everything(t testing.TB) string {
	t.Helper()
	return n.kubectl(t, "get", "-A", "-o", `go-template={{range .items}}{{.kind}} {{.metadata.namespace}} {{.metadata.name}}{{"\n"}}{{end}}`,
		"crd,clusterrole,clusterrolebinding,role,rolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration,apiservice,deploy,replicaset,svc,cm,secret,sa,lease,hpa,pdb,networkpolicy,ns,pods")
}

// await asks until ok says that it is enough; what was seen last is printed if it never is.
func await(t testing.TB, what string, ask func() string, ok func(string) bool) {
	t.Helper()
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if last = ask(); ok(last) {
			return
		}
	}
	t.Fatalf("%s: not within %s; last:\n%s", what, patience, last)
}

// gateway is the address of the ingress gateway's Service.
func (n *node) gateway(t testing.TB) string {
	t.Helper()
	return n.kubectl(t, "get", "svc", "-n", "istio-system", "istio-ingressgateway", "-o", "jsonpath={.spec.clusterIP}")
}

// shares sends count requests from a namespace's client, one after the other, and counts the answers that have each mark.
func (n *node) shares(t testing.TB, count int, url string, headers []string, marks ...string) map[string]int {
	t.Helper()
	args := []string{"-m", "60", "-w", "\\n"}
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	out := n.curl(t, "outside", append(args, fmt.Sprintf("%s?n=[1-%d]", url, count))...)
	got := map[string]int{}
	for line := range strings.Lines(out) {
		for _, m := range marks {
			if strings.Contains(line, m) {
				got[m]++
			}
		}
	}
	return got
}

// dial connects as a process of the node does.
func (n *node) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	pid, err := os.ReadFile(filepath.Join(n.folder, "pid"))
	if err != nil {
		return nil, err
	}
	err = netns.DoAt(filepath.Join("/proc", strings.TrimSpace(string(pid)), "ns", "net"), func() (err error) {
		c, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// load sends requests through the gateway until stop is called, which returns how many were sent and what failed.
func (n *node) load(t testing.TB, host string) (stop func() (sent int64, failed []string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: n.dial, MaxIdleConnsPerHost: 4}}
	var sent atomic.Int64
	var mu sync.Mutex
	var failed []string
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				why := once(client, "http://"+host+"/customer")
				if sent.Add(1); why != "" {
					mu.Lock()
					failed = append(failed, time.Now().Format("15:04:05.000 ")+why)
					mu.Unlock()
				}
				time.Sleep(20 * time.Millisecond) // a steady trickle, which leaves the machine to the pods
			}
		})
	}
	return func() (int64, []string) {
		cancel()
		group.Wait()
		client.CloseIdleConnections()
		return sent.Load(), failed
	}
}

// once sends one request; "": it was answered with 200.
func once(client *http.Client, url string) string {
	res, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %v %s", res.StatusCode, err, body)
	}
	return ""
}
