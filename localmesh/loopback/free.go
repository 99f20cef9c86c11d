package loopback

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
)

// Free returns nil if every port of the address can be bound now.
func Free(address string, ports ...uint32) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(int(p))))
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("%w: ports under 1024 need root or net.ipv4.ip_unprivileged_port_start", err)
			}
			return err
		}
		l.Close()
	}
	return nil
}

// Choose returns the first of the wanted ports that can be bound on the address, else any free one.
func Choose(address string, wanted ...uint32) (uint32, error) {
	for _, p := range wanted {
		if p != 0 && Free(address, p) == nil {
			return p, nil
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return uint32(l.Addr().(*net.TCPAddr).Port), nil
}
