//go:build linux

package netnstest

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

// Container is a program of a pod with a file system of its own, as a container runtime makes it: an image, volumes, and a root that is new
// at each start.
type Container struct {
	// Image are the files that the image has besides this machine's programs and libraries: absolute path in it -> file here.
	Image   map[string]string
	Volumes []Volume
	// ReadOnlyRoot: nothing can be written but in volumes.
	ReadOnlyRoot bool
	UID, GID     int
	// Capabilities are all that it can have, in setpriv's words (net_admin). Escalate: programs with setuid and the like may give it more.
	Capabilities []string
	Escalate     bool
	Env          []string // all of it but PATH
	Command      []string
}

// Volume is a directory of this machine in a container.
type Volume struct {
	From, To string
	ReadOnly bool
}

// root is where a container's file system is put together; in its own mount namespace, so that nobody else sees it.
const root = "/mnt"

// command enters the pod and the container. `ip netns exec` has given it a mount namespace already.
func (c Container) command(ctx context.Context, p Pod) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", p.NS, "sh", "-c", c.script(), "container"}, c.Command...)...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}, c.Env...)
	return cmd
}

// script makes the file system and becomes the program, whose words are the script's arguments.
func (c Container) script() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		for i, a := range args {
			args[i] = "'" + fmt.Sprint(a) + "'"
		}
		fmt.Fprintf(&b, format+"\n", args...)
	}
	b.WriteString("set -e\n")
	line("mount -t tmpfs -o mode=755 image %s; cd %[1]s", root)
	b.WriteString(`mkdir usr etc proc sys dev run tmp; chmod 1777 tmp
for d in bin sbin lib lib64; do ln -s usr/$d $d; done
mount --bind /usr usr; mount -o remount,bind,ro usr
for d in proc sys dev; do mount --rbind /$d $d; done
mount -t tmpfs -o mode=755 local usr/local
cp -a /etc/alternatives /etc/ld.so.cache etc; cp /etc/resolv.conf etc
`)
	for _, to := range slices.Sorted(maps.Keys(c.Image)) {
		line("mkdir -p .%s; touch .%s; mount --bind %s .%[2]s", path.Dir(to), to, c.Image[to])
	}
	for _, v := range c.Volumes {
		line("mkdir -p .%s; mount --bind %s .%[1]s", v.To, v.From)
		if v.ReadOnly {
			line("mount -o remount,bind,ro .%s", v.To)
		}
	}
	if c.ReadOnlyRoot {
		b.WriteString("mount -o remount,ro usr/local; mount -o remount,ro .\n")
	}
	caps := strings.Join(append([]string{"-all"}, c.Capabilities...), ",+")
	escalate := "--no-new-privs"
	if c.Escalate {
		escalate = ""
	}
	fmt.Fprintf(&b, `exec chroot . setpriv --reuid %d --regid %d --clear-groups --bounding-set %s %s -- "$@"`, c.UID, c.GID, caps, escalate)
	return b.String()
}

// Run runs a container to its end and returns what it wrote.
func (p Pod) Run(ctx context.Context, c Container) ([]byte, error) {
	return c.command(ctx, p).CombinedOutput()
}

// StartContainer starts a container. Its process id is the program's.
func (p Pod) StartContainer(t *testing.T, name string, c Container) *proctest.Process {
	t.Helper()
	return proctest.Start(t, name, c.command(context.Background(), p))
}
