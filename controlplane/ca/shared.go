package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A self-made authority that several processes share keeps its roots in Material, which is the content of a Secret: Istio's four files
// as they are in force, and each root as an entry of its own. Whoever keeps the Secret lets one of several writers win (Kubernetes'
// resourceVersion does): the others read what that one wrote. Which root signs follows from the entries and the time, so that all
// processes come to the same.

// Entries of roots are named root-<time from which it counts>.pem, and hold the certificate and the key.
const (
	rootPrefix = "root-"
	rootSuffix = ".pem"
)

// Shared makes an authority whose roots are in a Secret. It cannot sign before Adopt.
func Shared(o Options) (*Authority, error) { return newSelfMade(o) }

// Renew does what is due by now with what is kept (nil: nothing yet): it makes a root if there is none or the newest comes to its end,
// and drops those that have ended. It returns what is to be kept in its place, and whether that differs. The authority itself goes on as
// it was, until Adopt is called with what was kept in the end.
func (a *Authority) Renew(kept Material) (next Material, changed bool, err error) {
	now := a.opt.Now()
	next = maps.Clone(kept)
	if next == nil {
		next = Material{}
	}
	if err := next.named(); err != nil {
		return nil, false, err
	}
	roots, err := next.roots()
	if err != nil {
		return nil, false, err
	}
	for _, r := range roots {
		if now.After(r.cert.NotAfter) {
			delete(next, rootEntry(r.begins))
		}
	}
	roots = slices.DeleteFunc(roots, func(r root) bool { return now.After(r.cert.NotAfter) })
	if a.due(roots, now) {
		made, key, err := a.newRoot(now)
		if err != nil {
			return nil, false, err
		}
		next[rootEntry(made.begins)] = append([]byte(certificatePEM(made.cert.Raw)), key...)
		roots = append(roots, made)
	}
	if err := next.inForce(a, roots, now); err != nil {
		return nil, false, err
	}
	return next, !maps.EqualFunc(kept, next, bytes.Equal), nil
}

// named gives a root that somebody has put there as ca-cert.pem and ca-key.pem alone an entry of its own.
func (m Material) named() error {
	if roots, err := m.roots(); err != nil || len(roots) > 0 || len(m[CertFile]) == 0 {
		return err
	}
	p, err := m.pair(CertFile, KeyFile)
	if err != nil {
		return err
	}
	m[rootEntry(p.cert.NotBefore.UTC())] = append([]byte(certificatePEM(p.cert.Raw)), m[KeyFile]...)
	return nil
}

// inForce writes Istio's four files: who signs now, and whom to trust.
func (m Material) inForce(a *Authority, roots []root, now time.Time) error {
	signing, trusted := a.choose(roots, now)
	key, err := x509.MarshalPKCS8PrivateKey(signing.key)
	if err != nil {
		return fmt.Errorf("keep root: %w", err)
	}
	bundle := ""
	for _, c := range trusted {
		bundle += certificatePEM(c.Raw)
	}
	cert := certificatePEM(signing.cert.Raw)
	m[CertFile], m[ChainFile], m[RootFile] = []byte(cert), []byte(cert), []byte(bundle)
	m[KeyFile] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return nil
}

// Adopt signs from now on with the roots that are kept. On an error the authority goes on with what it has.
func (a *Authority) Adopt(kept Material) error {
	roots, err := kept.roots()
	if err != nil {
		return err
	}
	if len(roots) == 0 {
		return fmt.Errorf("use certificate authority: no entry %s*%s in it", rootPrefix, rootSuffix)
	}
	return a.use(roots, a.opt.Now())
}

func rootEntry(begins time.Time) string { return rootPrefix + begins.Format(folderTime) + rootSuffix }

// roots reads the entries of roots, the oldest first.
func (m Material) roots() ([]root, error) {
	var out []root
	for _, name := range slices.Sorted(maps.Keys(m)) {
		text, ok := strings.CutPrefix(name, rootPrefix)
		begins, err := time.Parse(folderTime+rootSuffix, text)
		if !ok || err != nil {
			continue
		}
		r := root{begins: begins}
		if r.pair, err = (Material{CertFile: m[name], KeyFile: keyOnly(m[name])}).pair(CertFile, KeyFile); err != nil {
			return nil, fmt.Errorf("in %s: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// keyOnly is the first block that is no certificate.
func keyOnly(text []byte) []byte {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return pem.EncodeToMemory(block)
		}
	}
	return nil
}
