package iptables

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// probePort is one that nobody in a pod listens on, as Istio's.
const probePort = 15002

// Check tells whether the rules are in force, which somebody else makes, a program of the node: a connection of the proxy's user (who has to be
// the caller) to the pod's own address must come to the inbound port, wherever it was meant for. Nothing else may listen there yet.
func Check(ctx context.Context, o Options, pod netip.Addr) error {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(int(o.InboundPort)))
	if err != nil {
		return fmt.Errorf("check interception: %w", err)
	}
	came := make(chan struct{})
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
			close(came)
		}
	}()
	defer l.Close()
	last := errors.New("no attempt was made")
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		c, err := (&net.Dialer{}).DialContext(try, "tcp", net.JoinHostPort(pod.String(), strconv.Itoa(probePort)))
		cancel()
		if err == nil {
			_ = c.Close()
		} else {
			last = err
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-came:
			t.Stop()
			return nil
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("check interception: connections are not intercepted: %w", last)
		case <-t.C:
		}
	}
}
