package command

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// execute runs one subcommand.
func execute(ctx context.Context, c *cobra.Command, args ...string) (status int, stdout, stderr string) {
	root := &cobra.Command{Use: "mizzen"}
	cmdline.Prepare(root, c)
	var out, err bytes.Buffer
	status = cmdline.Execute(ctx, root, append([]string{c.Name()}, args...), nil, &out, &err)
	return status, out.String(), err.String()
}

func TestIptablesDryRun(t *testing.T) {
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("search x\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ISTIO_META_DNS_CAPTURE", "true")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-i", "*", "-b", "*", "--ipv6", "off"}, 0, "-A ISTIO_OUTPUT_DNS -d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053\n"},
		{[]string{"-i", "*", "--ipv6", "on", "--backend", "nft"}, 0, "ip6 daddr ::1 counter return\n"},
		{[]string{"-u", "7"}, 0, "-m owner --gid-owner 7 -j RETURN\n"},
		{[]string{"-m", "TPROXY"}, 2, "TPROXY is not supported"},
		{[]string{"-b", "http"}, 2, `"http" is not a port`},
		{[]string{"--backend", "ebpf"}, 2, `backend "ebpf"`},
		{[]string{"--ipv6", "maybe"}, 2, "neither auto"},
	} {
		status, out, err := execute(context.Background(), Iptables(), append(c.args, "--dry-run", "--resolv-conf", resolv)...)
		if status != c.status || !strings.Contains(out+err, c.want) {
			t.Errorf("%v: status %d (want %d), no %q in\n%s%s", c.args, status, c.status, c.want, out, err)
		}
	}
}

func TestModuleCopy(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "libmizzen.so"), filepath.Join(dir, "a", "b")
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(from, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _, err := execute(context.Background(), Module(), "copy", "--from", from, "--to", to); status != 0 {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(to, "libmizzen.so"))
		if err != nil || string(got) != text {
			t.Errorf("copied %q, want %q (%v)", got, text, err)
		}
		if all, err := os.ReadDir(to); err != nil || len(all) != 1 {
			t.Errorf("%d files, %v", len(all), err)
		}
	}
	if info, err := os.Stat(filepath.Join(to, "libmizzen.so")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v: another user's Envoy must read it", info.Mode(), err)
	}
	if status, _, err := execute(context.Background(), Module(), "copy", "--from", filepath.Join(dir, "none"), "--to", to); status != 1 || !strings.Contains(err, "copy module: ") {
		t.Errorf("no file: status %d, %s", status, err)
	}
}

// --alone leaves the one module that proxies are to run, and whatever else is there.
func TestModuleAlone(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "mizzen.wasm"), filepath.Join(dir, "to")
	for _, file := range []string{from, filepath.Join(to, "libmizzen.so"), filepath.Join(to, "libmizzen-golang.so"), filepath.Join(to, "else")} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, err := execute(context.Background(), Module(), "copy", "--alone", "--from", from, "--to", to); status != 0 {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(to, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "else" || filepath.Base(left[1]) != "mizzen.wasm" {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestStandin(t *testing.T) {
	port := strconv.Itoa(envoytest.FreePort(t))
	t.Setenv("MIZZEN_SERVICE", "reviews")
	t.Setenv("MIZZEN_PORTS", port)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan string, 1)
	go func() {
		status, _, err := execute(ctx, Standin(), "--version", "v1", "--instance", "reviews-v1-0", "--address", "127.0.0.1")
		if status == 0 {
			err = ""
		}
		done <- err
	}()
	said, deadline := "", time.Now().Add(20*time.Second)
	for said == "" && time.Now().Before(deadline) && len(done) == 0 {
		resp, err := http.Get("http://127.0.0.1:" + port)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		said = string(body)
	}
	if said != "reviews v1 (reviews-v1-0)\n" {
		t.Errorf("it says %q", said)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != "" {
		t.Error(err)
	}
	if status, _, err := execute(context.Background(), Standin(), "--ports", "http"); status != 2 || !strings.Contains(err, `"http" is not a port`) {
		t.Errorf("status %d, %s", status, err)
	}
}
