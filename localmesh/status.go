package localmesh

import (
	"os/exec"
	"strings"
	"syscall"
)

// signalOf is the number of the signal that ended a command, 0 if none did.
func signalOf(e *exec.ExitError) int {
	if s, ok := e.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return int(s.Signal())
	}
	return 0
}

func joined(files []string) string { return strings.Join(files, ", ") }
