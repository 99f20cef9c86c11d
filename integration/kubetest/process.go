package kubetest

import (
	"os/exec"

	"github.com/mizzen-mesh/mizzen/integration/proctest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// launch starts a program that writes to the log.
func launch(log *textlog.Buffer, name, path string, args ...string) (*proctest.Process, error) {
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	return proctest.Launch(name, cmd)
}
