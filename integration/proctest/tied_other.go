//go:build !linux

package proctest

import "syscall"

func tied() *syscall.SysProcAttr { return nil }
