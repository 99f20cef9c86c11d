package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// alone: while the control plane is away, traffic goes on, through an Envoy that has fallen, and through a container that is new.
func (w *world) alone(t *testing.T) {
	customer, preference := w.pods["customer-v1"], w.pods["preference-v1"]
	chain := func() bool {
		body, code := customer.curl("http://customer:8080/")
		return code == 200 && strings.Contains(body, "preference v1 (preference-v1-0) => recommendation")
	}
	envoytest.Await(t, 20*time.Second, "the last configuration is kept in files", func() bool {
		out, err := preference.Command(context.Background(), 0, "sh", "-c", "ls "+w.dir+"/preference-v1-0/istio-data/xds-*.pb | wc -l").Output()
		return err == nil && strings.TrimSpace(string(out)) == "5"
	})
	w.stop()
	if !chain() {
		t.Error("the chain is broken without a control plane")
	}
	t.Run("Envoy falls", func(t *testing.T) {
		out, err := preference.Command(context.Background(), 0, "pgrep", "-P", fmt.Sprint(preference.proxy().PID())).Output()
		var pid int
		if _, scan := fmt.Sscan(string(out), &pid); err != nil || scan != nil {
			t.Fatalf("find Envoy: %v, %v", err, scan)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		envoytest.Await(t, 30*time.Second, "another Envoy", func() bool {
			out, err := preference.Command(context.Background(), 0, "pgrep", "-P", fmt.Sprint(preference.proxy().PID())).Output()
			return err == nil && strings.TrimSpace(string(out)) != fmt.Sprint(pid)
		})
		preference.awaitReady(t)
		if !chain() {
			t.Error("the chain is broken after Envoy was started again")
		}
	})
	t.Run("the container is new", func(t *testing.T) {
		preference.proxy().Kill()
		preference.run(t, preference.named(t, "istio-proxy"))
		preference.awaitReady(t)
		if !chain() {
			t.Error("the chain is broken after the container was started again")
		}
	})
	w.start()
	w.only(t, subsets+"  - route: [{destination: {host: recommendation, subset: v2}}]\n")
	envoytest.Await(t, 30*time.Second, "changes arrive again", func() bool {
		for range 5 {
			if body, code := customer.curl("http://customer:8080/"); code != 200 || !strings.Contains(body, "recommendation v2") {
				return false
			}
		}
		return true
	})
}

// slowly sends a request from outside of the mesh that takes a while, and returns where its answer will come, once the server's Envoy has it.
func (p *pod) slowly(t *testing.T, wait string) <-chan slow {
	t.Helper()
	const requests = `^http\.inbound.*8080;?\.downstream_rq_total$`
	done := make(chan slow, 1)
	before := p.stats(t, requests)
	go func() {
		body, code := p.world.client.curl("-H", "slow: "+wait, p.url(8080, "/"))
		done <- slow{body, code, time.Now()}
	}()
	envoytest.Await(t, 15*time.Second, "the request is under way", func() bool { return p.stats(t, requests) > before })
	return done
}

type slow struct {
	body string
	code int
	at   time.Time
}

// gone awaits the end of the pod's proxy, which has to be one that kubelet takes for a success.
func (p *pod) gone(t *testing.T) {
	t.Helper()
	select {
	case <-p.proxy().Gone():
		if c := p.proxy().Code(); c != 0 {
			t.Errorf("the proxy of %s ended with %d", p.manifest.Name, c)
		}
	case <-time.After(60 * time.Second):
		t.Errorf("the proxy of %s does not end", p.manifest.Name)
	}
}

// notReady awaits that the pod gets no more traffic.
func (p *pod) notReady(t *testing.T) {
	t.Helper()
	envoytest.Await(t, 15*time.Second, "the pod counts as not ready", func() bool { return p.world.status(p.url(15020, "/healthz/ready")) == http.StatusServiceUnavailable })
}

// politely: a request that is under way when the pod is to end is answered; then the proxy ends.
func (w *world) politely(t *testing.T) {
	preference := w.pods["preference-v1"]
	answer := preference.slowly(t, "2s")
	preference.proxy().Signal(syscall.SIGTERM)
	preference.notReady(t)
	if r := <-answer; r.code != 200 || !strings.Contains(r.body, "preference v1") {
		t.Errorf("the request that was under way: status %d, %s", r.code, r.body)
	}
	preference.gone(t)
}

// idle: with EXIT_ON_ZERO_ACTIVE_CONNECTIONS a request may take longer than connections are let go on otherwise, here 1 s; the proxy ends
// after the last one, not before.
func (w *world) idle(t *testing.T) {
	p := w.pods["recommendation-v1"]
	answer := p.slowly(t, "4s")
	p.proxy().Signal(syscall.SIGTERM)
	// As a cluster does with a pod that is to end: nobody is sent to it any more, so that those who were let their connections go.
	if err := os.Remove(w.config(p.manifest.Name)); err != nil {
		t.Fatal(err)
	}
	r := <-answer
	if r.code != 200 || !strings.HasPrefix(r.body, "recommendation v1") {
		t.Errorf("the request that was under way: status %d, %s", r.code, r.body)
	}
	p.gone(t)
	if ended := time.Now(); ended.Before(r.at) {
		t.Errorf("the proxy ended at %s, before the answer at %s", ended, r.at)
	}
}

// asked: programs in the pod, and only they, may have its proxy take leave, and end, which a Job's program does when it is done.
func (w *world) asked(t *testing.T) {
	p := w.pods["recommendation-v2"]
	const agent = "http://127.0.0.1:15020"
	for _, path := range []string{"/drain", "/quitquitquit"} {
		if _, code := p.curl(agent + path); code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: status %d, want 405", path, code)
		}
	}
	if body, code := p.curl("-X", "POST", agent+"/drain"); code != 200 {
		t.Fatalf("/drain: status %d, %s", code, body)
	}
	p.notReady(t)
	if a := p.seen(t, w.web("10.88.0.20", 8080)); !a.proxied() {
		t.Error("what a pod sends that takes leave does not go through its sidecar")
	}
	if body, code := p.curl("-X", "POST", agent+"/quitquitquit"); code != 200 {
		t.Errorf("/quitquitquit: status %d, %s", code, body)
	}
	p.gone(t)
}

// readOnly: proxies cannot write but in their volumes, and go on all the same.
func (w *world) readOnly(t *testing.T) {
	p := w.pods["customer-v1"]
	root := fmt.Sprintf("/proc/%d/root", p.proxy().PID())
	for dir, fails := range map[string]bool{"/": true, "/tmp": true, "/etc": true, "/var/lib": true, "/usr/local/bin": true, "/var/lib/mizzen": true, "/etc/istio/proxy": false, "/var/lib/istio/data": false} {
		file := root + dir + "/written"
		err := os.WriteFile(file, nil, 0o600)
		if fails != errors.Is(err, syscall.EROFS) {
			t.Errorf("write in %s: %v", dir, err)
		}
		_ = os.Remove(file)
	}
}
