package supervisor

import "syscall"

// attributes give the child its own process group, so that Ctrl-C on the terminal reaches us alone and we stop things in
// order, and its death if we die without having stopped it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
