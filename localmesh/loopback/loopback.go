// Package loopback hands out addresses of the loopback network: 127.1.x.y for a workload's sidecar and 127.2.x.y, the same
// x.y, for its application. Several meshes of several users share the machine: each reserves a block.
package loopback

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"sync"
)

const (
	blocks  = 16              // per machine
	octets  = 256 / blocks    // third octets per block
	perNet  = 253             // .1 to .253 of each third octet
	perMesh = octets * perNet // workloads of one mesh
	reserve = 254             // last octet of the address that marks a block as taken
	marker  = 15000           // the port bound on it
)

// Pair is a workload's two addresses.
type Pair struct {
	Sidecar     string // the pod's IP
	Application string
}

// Block is the addresses of one mesh.
type Block struct {
	base int // third octet
	lock net.Listener

	mu    sync.Mutex
	byKey map[string]int
	used  map[int]bool
}

// Reserve takes the first block that no other mesh on this machine has. A listener marks it until Close.
func Reserve() (*Block, error) {
	var first error
	for b := range blocks {
		base := b * octets
		l, err := net.Listen("tcp", net.JoinHostPort(fmt.Sprintf("127.1.%d.%d", base, reserve), strconv.Itoa(marker)))
		if err == nil {
			return &Block{base: base, lock: l, byKey: map[string]int{}, used: map[int]bool{}}, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, fmt.Errorf("reserve loopback addresses: %w (is something bound to port %d on all addresses?)", first, marker)
}

// Close gives the block back.
func (b *Block) Close() { _ = b.lock.Close() }

// Take gives key its addresses, the same ones until Release. Addresses of which a port is taken are passed over.
func (b *Block) Take(key string, ports []uint32) (Pair, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i, ok := b.byKey[key]; ok {
		return b.pair(i), nil
	}
	var last error
	for i := range perMesh {
		if b.used[i] {
			continue
		}
		p := b.pair(i)
		if last = Free(p.Sidecar, ports...); last == nil {
			last = Free(p.Application, ports...)
		}
		if last != nil {
			if errors.Is(last, fs.ErrPermission) {
				break // no address will do better
			}
			continue
		}
		b.used[i], b.byKey[key] = true, i
		return p, nil
	}
	if last == nil {
		last = fmt.Errorf("all %d are in use", perMesh)
	}
	return Pair{}, fmt.Errorf("find an address for %s: %w", key, last)
}

// Release lets another key have key's addresses.
func (b *Block) Release(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i, ok := b.byKey[key]; ok {
		delete(b.byKey, key)
		delete(b.used, i)
	}
}

func (b *Block) pair(i int) Pair {
	x, y := b.base+i/perNet, i%perNet+1
	return Pair{Sidecar: fmt.Sprintf("127.1.%d.%d", x, y), Application: fmt.Sprintf("127.2.%d.%d", x, y)}
}
