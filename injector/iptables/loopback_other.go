//go:build !linux

package iptables

import "errors"

// loopback6 needs Linux.
func loopback6() error { return errors.New("give loopback the address ::6: only on Linux") }
