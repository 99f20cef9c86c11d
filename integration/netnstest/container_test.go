//go:build linux

package netnstest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A container sees its image and volumes, cannot write elsewhere, and is the user that it shall be, with the capabilities that it may have.
func TestContainer(t *testing.T) {
	Need(t)
	p := New(t).Pod(t, "c", "10.88.0.9")
	dir := t.TempDir()
	for _, d := range []string{"data", "fixed"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "said"), []byte("of the image"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := Container{
		Image:   map[string]string{"/opt/x/said": filepath.Join(dir, "said")},
		Volumes: []Volume{{From: filepath.Join(dir, "data"), To: "/var/data"}, {From: filepath.Join(dir, "fixed"), To: "/etc/fixed", ReadOnly: true}},
		UID:     1337, GID: 1337, ReadOnlyRoot: true, Env: []string{"X=y"},
	}
	for script, want := range map[string]string{
		"cat /opt/x/said; echo -n $X; id -u; id -g":                                                     "of the imagey1337\n1337\n",
		"echo a > /var/data/a; cat /var/data/a":                                                         "a\n",
		"for f in /a /etc/a /etc/fixed/a /tmp/a /usr/a; do (: > $f) 2>/dev/null && echo $f; done; true": "",
		"grep CapEff /proc/self/status":                                                                 "CapEff:\t0000000000000000\n",
	} {
		c.Command = []string{"sh", "-c", script}
		if out, err := p.Run(context.Background(), c); err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
	c.UID, c.GID, c.Capabilities, c.ReadOnlyRoot = 0, 0, []string{"net_admin", "net_raw"}, false
	c.Command = []string{"sh", "-c", "grep CapEff /proc/self/status; : > /run/a && ip link set lo mtu 1400"}
	if out, err := p.Run(context.Background(), c); err != nil || string(out) != "CapEff:\t0000000000003000\n" {
		t.Errorf("with capabilities: %v\n%s", err, out)
	}
	for _, f := range []string{"/mnt/usr", "/run/a", filepath.Join(dir, "fixed", "a")} {
		if _, err := os.Stat(f); err == nil {
			t.Errorf("%s is there outside of the container", f)
		}
	}
}
