//go:build !linux

package podnet

import (
	"errors"
	"net"
)

var errLinux = errors.New("isolate workloads by network namespaces: only Linux has them")

// Supported says why this machine cannot have pods.
func Supported() error { return errLinux }

type hub struct {
	questions     net.PacketConn
	longQuestions net.Listener
}

func openHub(*Network, Dial) (*hub, error) { return nil, errLinux }

func asGroup(int, func() error) error { return errLinux }

func (*hub) attach(*Pod) error { return errLinux }

func (*hub) detach(*Pod) error { return nil }

func (*hub) close() {}
