package module

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// checked is the module in what was read: itself, or inside gzip or tar. want is the SHA-256 that one of the two must have.
func checked(raw []byte, want string) ([]byte, error) {
	module, err := unpacked(raw)
	if err != nil {
		return nil, err
	}
	if err := verify(want, sum(module), sum(raw)); err != nil {
		return nil, err
	}
	return module, proxyWasm(module)
}

// unpacked takes off gzip, and takes the module out of a tar.
func unpacked(raw []byte) ([]byte, error) {
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("unpack module: %w", err)
		}
		if raw, err = limited(z); err != nil {
			return nil, fmt.Errorf("unpack module: %w", err)
		}
	}
	if len(raw) > 262 && string(raw[257:262]) == "ustar" {
		return fromTar(raw)
	}
	return raw, nil
}

// fromTar finds plugin.wasm, as images have it, or the only module.
func fromTar(raw []byte) ([]byte, error) {
	var found [][]byte
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("unpack module: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".wasm") {
			continue
		}
		b, err := limited(r)
		if err != nil {
			return nil, fmt.Errorf("unpack module: %w", err)
		}
		if path.Base(h.Name) == "plugin.wasm" {
			return b, nil
		}
		found = append(found, b)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("no plugin.wasm inside, and %d other modules", len(found))
	}
	return found[0], nil
}

// limited reads all, of no more than a module may have.
func limited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(b) > maxModule {
		err = errTooLarge
	}
	return b, err
}

// proxyWasm is an error unless a module can be a plugin of a proxy: what cannot is better told here than by every Envoy.
func proxyWasm(module []byte) error {
	if !bytes.HasPrefix(module, []byte("\x00asm\x01\x00\x00\x00")) {
		return errors.New("not a WebAssembly module")
	}
	names, err := exports(module[8:])
	if err != nil {
		return fmt.Errorf("a damaged WebAssembly module: %w", err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "proxy_abi_version_") {
			return nil
		}
	}
	return errors.New("no module for a proxy: it exports no proxy_abi_version_*")
}

// exportSection is the id of the section that holds the exports.
const exportSection = 7

var errShort = errors.New("it ends too early")

// exports are the names that a module exports, read from its sections.
func exports(b []byte) ([]string, error) {
	for len(b) > 0 {
		id := b[0]
		section, rest, err := counted(b[1:])
		if err != nil {
			return nil, err
		}
		if id == exportSection {
			return exportNames(section)
		}
		b = rest
	}
	return nil, nil
}

func exportNames(b []byte) ([]string, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, errShort
	}
	b = b[size:]
	var names []string
	for range n {
		name, rest, err := counted(b)
		if err != nil {
			return nil, err
		}
		names = append(names, string(name))
		if len(rest) < 2 {
			return nil, errShort
		}
		if _, size = binary.Uvarint(rest[1:]); size <= 0 { // the kind, then an index
			return nil, errShort
		}
		b = rest[1+size:]
	}
	return names, nil
}

// counted splits off bytes that stand behind their number.
func counted(b []byte) (part, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, errShort
	}
	return b[size : size+int(n)], b[size+int(n):], nil
}
