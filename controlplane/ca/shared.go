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
//
// A given authority that comes to take its place is one more root in this order, of which the Secret holds the certificates alone; and
// when it goes, another self-made root comes after it. So both changes are rotations like any other. Where there has never been a
// self-made root, the given authority stands alone and nothing is kept.

// Entries of roots are named root-<time from which it counts>.pem, and hold the certificate and the key; those of given authorities
// given-<time>.pem, and hold its roots.
const (
	rootPrefix  = "root-"
	givenPrefix = "given-"
	rootSuffix  = ".pem"
)

// Shared makes an authority whose roots are in a Secret. It cannot sign before Adopt.
func Shared(o Options) (*Authority, error) { return newSelfMade(o) }

// Renew does what is due by now with what is kept (nil: nothing yet): it makes a root if there is none or the newest comes to its end,
// and drops those that count no more. given is the given authority as it was read last (nil: never), and there tells whether it still is.
// Renew returns what is to be kept in its place, and whether that differs. The authority itself goes on as it was, until Adopt is called
// with what was kept in the end.
func (a *Authority) Renew(kept Material, given *Given, there bool) (next Material, changed bool, err error) {
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
	if there && len(roots) == 0 {
		return kept, false, nil
	}
	roots = slices.DeleteFunc(roots, func(r root) bool { return r.given == nil && now.After(r.cert.NotAfter) })
	roots = follow(roots, given, there, now)
	if !there && a.due(roots, now) {
		made, err := a.newRoot(now)
		if err != nil {
			return nil, false, err
		}
		roots = append(roots, made)
	}
	if !there { // whoever starts now has not got the key, and all replicas are to write the same
		given = nil
	}
	signing, live := a.choose(withKey(roots, given, now), now)
	if err := next.write(signing, live); err != nil {
		return nil, false, err
	}
	return next, !maps.EqualFunc(kept, next, bytes.Equal), nil
}

// follow puts a given authority into its place among the roots: the last while it is there. It is one from before all others if it was
// alone until it went.
func follow(roots []root, given *Given, there bool, now time.Time) []root {
	n := len(roots)
	switch {
	case given == nil:
	case there && roots[n-1].given != nil:
		roots[n-1].given = given.roots // how roots of its own are rotated is its owner's business
	case there:
		roots = append(roots, root{begins: now.UTC(), given: given.roots})
	case !slices.ContainsFunc(roots, func(r root) bool { return r.given != nil }):
		first := root{begins: given.cert.NotBefore.UTC(), given: given.roots}
		if n > 0 && !first.begins.Before(roots[0].begins) {
			first.begins = roots[0].begins.Add(-time.Second)
		}
		roots = append([]root{first}, roots...)
	}
	return roots
}

// withKey gives the last entry of a given authority the key that is known of it, if it may sign.
func withKey(roots []root, given *Given, now time.Time) []root {
	roots = slices.Clone(roots)
	for i, r := range slices.Backward(roots) {
		if r.given == nil {
			continue
		}
		if given != nil && !now.After(given.cert.NotAfter) && slices.ContainsFunc(r.given, given.anchor.Equal) {
			roots[i].pair, roots[i].chain, roots[i].anchor = given.pair, given.chain, given.anchor
		}
		break
	}
	return roots
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

// write makes the entries of those roots that count, and Istio's four files: who signs now, unless a given authority does, whose key stays
// where it is, and whom to trust.
func (m Material) write(signing root, live []root) error {
	maps.DeleteFunc(m, func(name string, _ []byte) bool {
		_, isRoot := entryTime(name, rootPrefix)
		_, isGiven := entryTime(name, givenPrefix)
		return isRoot || isGiven
	})
	for _, r := range live {
		if r.given != nil {
			m[givenEntry(r.begins)] = certificatesPEM(r.given)
			continue
		}
		key, err := keyPEM(r)
		if err != nil {
			return err
		}
		m[rootEntry(r.begins)] = append([]byte(certificatePEM(r.cert.Raw)), key...)
	}
	m[RootFile] = certificatesPEM(bundle(live))
	for _, name := range []string{CertFile, ChainFile, KeyFile} {
		delete(m, name)
	}
	if signing.given != nil {
		return nil
	}
	cert := certificatePEM(signing.cert.Raw)
	key, err := keyPEM(signing)
	m[CertFile], m[ChainFile], m[KeyFile] = []byte(cert), []byte(cert), key
	return err
}

func keyPEM(r root) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		return nil, fmt.Errorf("keep root: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certificatesPEM(certs []*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, certificatePEM(c.Raw)...)
	}
	return out
}

// Adopt signs from now on with what is kept, and with the given authority (nil: none is known) where it has its place there, or where
// nothing is kept. On an error the authority goes on with what it has.
func (a *Authority) Adopt(kept Material, given *Given) error {
	roots, err := kept.roots()
	if err != nil {
		return err
	}
	switch {
	case len(roots) > 0:
		now := a.opt.Now()
		return a.use(withKey(roots, given, now), now)
	case given != nil:
		return a.useGiven(given)
	}
	return fmt.Errorf("use certificate authority: no entry %s*%s in it", rootPrefix, rootSuffix)
}

func rootEntry(begins time.Time) string  { return rootPrefix + begins.Format(folderTime) + rootSuffix }
func givenEntry(begins time.Time) string { return givenPrefix + begins.Format(folderTime) + rootSuffix }

// entryTime is from when an entry with such a name counts; false: it is none.
func entryTime(name, prefix string) (time.Time, bool) {
	text, ok := strings.CutPrefix(name, prefix)
	begins, err := time.Parse(folderTime+rootSuffix, text)
	return begins, ok && err == nil
}

// roots reads the entries, the oldest first.
func (m Material) roots() ([]root, error) {
	var out []root
	for _, name := range slices.Sorted(maps.Keys(m)) {
		var err error
		r := root{}
		if begins, ok := entryTime(name, rootPrefix); ok {
			r.begins = begins
			r.pair, err = (Material{CertFile: m[name], KeyFile: keyOnly(m[name])}).pair(CertFile, KeyFile)
		} else if begins, ok := entryTime(name, givenPrefix); ok {
			r.begins = begins
			r.given, err = parseCertificates(m[name])
		} else {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("in %s: %w", name, err)
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b root) int { return a.begins.Compare(b.begins) })
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
