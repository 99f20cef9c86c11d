//go:build !linux

package iptables

import "errors"

// Loopback6 needs Linux.
func Loopback6() error { return errors.New("give loopback the address ::6: only on Linux") }
