//go:build linux

package netnstest

import (
	"context"
	"os"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

// Start starts a program in the pod, with an environment of its own (PATH is there), until it is killed or the test ends. Its process is
// the program's: ip and setpriv become it.
func (p Pod) Start(t *testing.T, name string, uid int, env []string, command ...string) *proctest.Process {
	t.Helper()
	cmd := p.Command(context.Background(), uid, command...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	return proctest.Start(t, name, cmd)
}
