// Package meshtest runs `mizzen up`, the real program on real Envoys, for tests: it starts it over a directory of
// manifests, applies and deletes resources through the command line, and sends requests as a client or as a workload.
package meshtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// Ready is the ready file of `mizzen up`.
type Ready struct {
	Gateways []struct {
		Name, HTTP, HTTPS, Admin string
		Ports                    map[string]int
	}
	Workloads []struct {
		Name, Namespace, Address, Proxy, Admin, Netns string
		Labels                                        map[string]string
		Ports                                         []int
	}
	ControlPlane struct{ XDS, Secure, HTTP string }
	State        string // the state directory
	RateLimit    struct{ GRPC, HTTP string }
}

// Mesh is one running `mizzen up`.
type Mesh struct {
	// Dir holds the manifests that are watched; tests may edit them.
	Dir string
	// Ready is the ready file as read last.
	Ready Ready

	bin, readyFile string
	cmd            *exec.Cmd
	out            *textlog.Buffer
	exited         chan error
}

// Isolation is the environment variable that says how all meshes keep their workloads apart, as `mizzen up --isolation` does: netns
// runs tests of the local mesh with network namespaces.
const Isolation = "MIZZEN_TEST_ISOLATION"

// Options of Start.
type Options struct {
	Args []string // further flags of `mizzen up`
	// Patience is how long the mesh may take to be ready; 0 is a minute.
	Patience time.Duration
}

// Start copies the manifests into a directory, runs `mizzen up` over it and waits for its ready file. The mesh is
// stopped, and its output shown if the test failed, when the test ends. Skips, or fails if MIZZEN_REQUIRE is set, where
// there is no Envoy.
func Start(t testing.TB, manifests string, o Options) *Mesh {
	t.Helper()
	m, err := start(t, manifests, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func start(t testing.TB, manifests string, o Options) (*Mesh, error) {
	envoy := Envoy(t)
	bin := Binary(t)
	m := &Mesh{Dir: t.TempDir(), bin: bin, out: &textlog.Buffer{}, exited: make(chan error, 1)}
	if err := os.CopyFS(m.Dir, os.DirFS(manifests)); err != nil {
		return nil, fmt.Errorf("copy manifests: %w", err)
	}
	m.readyFile = filepath.Join(t.TempDir(), "ready.json")
	args := append([]string{"up", "-f", m.Dir, "--envoy", envoy, "--gateway-port", fmt.Sprint(envoytest.FreePort(t)),
		"--gateway-tls-port", fmt.Sprint(envoytest.FreePort(t)), "--ready-file", m.readyFile}, o.Args...)
	if i := os.Getenv(Isolation); i != "" {
		args = append(args, "--isolation", i)
	}
	m.cmd = exec.Command(bin, args...)
	m.cmd.Stdout, m.cmd.Stderr = m.out, m.out
	m.cmd.Env = append(os.Environ(), "NO_COLOR=1", "MIZZEN_MODULE="+Module(t))
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start mizzen: %w", err)
	}
	go func() { m.exited <- m.cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mizzen up printed:\n%s", m.out)
		}
		m.Stop(t)
	})
	return m, m.awaitReady(cmp.Or(o.Patience, time.Minute))
}

func (m *Mesh) awaitReady(patience time.Duration) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-m.exited:
			m.exited <- err
			return fmt.Errorf("mizzen up ended before it was ready: %v\n%s", err, m.out)
		default:
		}
		if m.Reload() == nil {
			return nil
		}
	}
	return fmt.Errorf("mizzen up was not ready after %s:\n%s", patience, m.out)
}

// Reload reads the ready file again.
func (m *Mesh) Reload() error {
	b, err := os.ReadFile(m.readyFile)
	if err != nil {
		return err
	}
	var r Ready
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("read ready file: %w", err)
	}
	m.Ready = r
	return nil
}

// Stop interrupts the mesh as Ctrl-C does and waits for its end. Calling it twice is fine.
func (m *Mesh) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-m.exited:
		m.exited <- nil
		return
	default:
	}
	_ = m.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-m.exited:
		m.exited <- nil
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() != 130 && exit.ExitCode() != 0 {
			t.Errorf("mizzen up ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		_ = m.cmd.Process.Kill()
		t.Errorf("mizzen up did not end within 20 s of an interrupt; it printed:\n%s", m.out)
	}
}

// Pid is the process id of `mizzen up`.
func (m *Mesh) Pid() int { return m.cmd.Process.Pid }

// Output is what `mizzen up` has printed so far.
func (m *Mesh) Output() string { return m.out.String() }

// Run runs `mizzen` against this mesh and returns what it printed on both streams, and its exit code.
func (m *Mesh) Run(t testing.TB, stdin string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.bin, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "MIZZEN_STATE="+m.readyFile)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("mizzen %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Apply applies YAML; what it names is deleted when the test ends.
func (m *Mesh) Apply(t testing.TB, yaml string) {
	t.Helper()
	if out, code := m.Run(t, yaml, "apply", "-f", "-"); code != 0 {
		t.Fatalf("mizzen apply ended with %d:\n%s\n%s", code, out, yaml)
	}
	t.Cleanup(func() {
		if out, code := m.Run(t, yaml, "delete", "-f", "-"); code != 0 && !strings.Contains(out, "not found") {
			t.Errorf("mizzen delete ended with %d:\n%s", code, out)
		}
	})
}

// Gateway is the first gateway's base URL.
func (m *Mesh) Gateway() string { return m.Ready.Gateways[0].HTTP }

// ViaGateway is a client whose requests go to the gateway as any outsider's do.
func (m *Mesh) ViaGateway() *Client {
	return &Client{http: &http.Client{Transport: transport(nil)}, base: m.Gateway()}
}

// From is a client whose requests leave as the workload's own: through its sidecar.
func (m *Mesh) From(t testing.TB, workload string) *Client {
	t.Helper()
	return &Client{http: &http.Client{Transport: transport(&url.URL{Scheme: "http", Host: m.Proxy(t, workload)})}}
}

// Proxy is the address, "host:port", on which a workload's sidecar takes what the workload sends.
func (m *Mesh) Proxy(t testing.TB, workload string) string {
	t.Helper()
	for _, w := range m.Ready.Workloads {
		if w.Name == workload {
			return strings.TrimPrefix(w.Proxy, "http://")
		}
	}
	t.Fatalf("no workload %q in %+v", workload, m.Ready.Workloads)
	return ""
}

// Stat reads one number of a workload's Envoy: the sum of the counters whose names match the regular expression.
func (m *Mesh) Stat(t testing.TB, workload, filter string) int {
	t.Helper()
	var s struct{ Stats []struct{ Value int } }
	if err := json.Unmarshal(m.Admin(t, workload, "/stats?format=json&filter="+url.QueryEscape(filter)), &s); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, v := range s.Stats {
		sum += v.Value
	}
	return sum
}

func transport(proxy *url.URL) *http.Transport {
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	if proxy != nil {
		tr.Proxy = http.ProxyURL(proxy)
	}
	return tr
}

// Client sends requests into the mesh.
type Client struct {
	http *http.Client
	base string // prefixed to URLs that begin with "/"
}

// NewClient sends requests over a transport; base goes before URLs that begin with "/".
func NewClient(over http.RoundTripper, base string) *Client {
	return &Client{http: &http.Client{Transport: over}, base: base}
}

// Answer is what came back.
type Answer struct {
	Code   int
	Body   string
	Header http.Header
}

// Get sends one request. Headers are "name: value"; "Host: x" sets the host. Redirects are not followed.
func (c *Client) Get(rawURL string, headers ...string) (Answer, error) {
	return c.Do("GET", rawURL, headers...)
}

// Do is Get with a method.
func (c *Client) Do(method, rawURL string, headers ...string) (Answer, error) {
	if strings.HasPrefix(rawURL, "/") {
		rawURL = c.base + rawURL
	}
	req, err := http.NewRequest(method, rawURL, nil)
	if err != nil {
		return Answer{}, err
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if strings.EqualFold(k, "host") {
			req.Host = v
			continue
		}
		req.Header.Add(k, v)
	}
	res, err := c.http.Transport.RoundTrip(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, strings.TrimSpace(string(b)), res.Header}, err
}

// Must is Get that fails the test on a transport error.
func (c *Client) Must(t testing.TB, rawURL string, headers ...string) Answer {
	t.Helper()
	a, err := c.Get(rawURL, headers...)
	if err != nil {
		t.Fatalf("GET %s: %v", rawURL, err)
	}
	return a
}

// Await repeats a request until ok holds; it fails the test after 15 s. Envoy's workers learn of a change a moment after
// it is acknowledged.
func (c *Client) Await(t testing.TB, what string, ok func(Answer) bool, rawURL string, headers ...string) Answer {
	t.Helper()
	var last Answer
	var err error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if last, err = c.Get(rawURL, headers...); err == nil && ok(last) {
			return last
		}
	}
	t.Fatalf("%s: GET %s %v never did; last answer %d %q (%v)", what, rawURL, headers, last.Code, last.Body, err)
	return last
}

// Tally sends n requests, a few at a time, and counts the answers under the key that classify gives.
func (c *Client) Tally(t testing.TB, n int, classify func(Answer) string, rawURL string, headers ...string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan struct{})
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range work {
				a, err := c.Get(rawURL, headers...)
				key := "error"
				if err == nil {
					key = classify(a)
				}
				mu.Lock()
				counts[key]++
				mu.Unlock()
			}
		}()
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	return counts
}

// Alive tells whether a process still runs.
func Alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// Up runs `mizzen up` over manifests with a command and returns what was printed, and the exit status.
func Up(t testing.TB, manifests string, command ...string) (string, int) {
	t.Helper()
	args := append([]string{"up", "-f", manifests, "--envoy", Envoy(t), "--gateway-port", fmt.Sprint(envoytest.FreePort(t)), "--"}, command...)
	cmd := exec.Command(Binary(t), args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "MIZZEN_MODULE="+Module(t))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("mizzen up: %v\n%s", err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
