//go:build !linux

package supervisor

import "syscall"

// attributes give the child its own process group. Only Linux can tie its life to ours.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
