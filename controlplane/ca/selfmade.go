package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A self-made authority keeps its roots in a directory, each root in a folder of its own that is named by the time from which
// it counts; or in a Secret, see Renew. At any time
//
//   - the roots that have begun and not ended are trusted,
//   - and the newest that everybody has had the time to hear of signs: one that began at least a leaf's longest life ago, since
//     every workload has asked anew by then and got the new bundle with the answer. Without such a one, the oldest signs.
//
// So a rotation needs no coordination and survives restarts: making a new root begins it, and time does the rest.

// SelfMade opens the authority in a directory, and makes its first root if there is none. Several processes may not share the
// directory.
func SelfMade(dir string, o Options) (*Authority, error) {
	a, err := newSelfMade(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	return a, a.Keep(dir)
}

func newSelfMade(o Options) (*Authority, error) {
	a := &Authority{opt: o.withDefaults()}
	if a.opt.RootTTL < 3*a.opt.MaxTTL {
		return nil, fmt.Errorf("open certificate authority: roots that live %s are too short for certificates of up to %s: three times as long is the least", a.opt.RootTTL, a.opt.MaxTTL)
	}
	return a, nil
}

// folderTime is the form of a root's folder name.
const folderTime = "20060102T150405.000000000Z"

// root is one root in the directory, or what stands for a given authority in a Secret: then the pair is empty where its key is not known.
type root struct {
	pair
	begins time.Time
	folder string

	given  []*x509.Certificate // nil: self-made
	chain  []*x509.Certificate // from a given authority's certificate to its anchor
	anchor *x509.Certificate
}

// trusted are its certificates that others trust.
func (r root) trusted() []*x509.Certificate {
	if r.given != nil {
		return r.given
	}
	return []*x509.Certificate{r.cert}
}

// Keep does what is due by now: it makes a root if there is none or the newest comes to its end, lets the right one sign, and
// drops those that have ended. To be called now and then; between calls nothing changes.
func (a *Authority) Keep(dir string) error {
	now := a.opt.Now()
	roots, err := readRoots(dir)
	if err != nil {
		return err
	}
	if a.due(roots, now) {
		made, err := a.makeRoot(dir, now)
		if err != nil {
			return err
		}
		roots = append(roots, made)
	}
	roots = slices.DeleteFunc(roots, func(r root) bool {
		ended := now.After(r.cert.NotAfter)
		if ended {
			_ = os.RemoveAll(r.folder)
		}
		return ended
	})
	return a.use(roots, now)
}

// due tells whether it is time for another root. The next one has to have become old enough to sign before the newest's end is in sight
// of any certificate.
func (a *Authority) due(roots []root, now time.Time) bool {
	n := len(roots)
	return n == 0 || roots[n-1].given != nil || roots[n-1].cert.NotAfter.Sub(now) < max(a.opt.RootTTL/5, 2*a.opt.MaxTTL)
}

// Rotate begins a rotation: a new root that is trusted from now on, and signs when every workload has heard of it.
func (a *Authority) Rotate(dir string) error {
	if _, err := a.makeRoot(dir, a.opt.Now()); err != nil {
		return err
	}
	return a.Keep(dir)
}

// use makes the state of the roots that stand.
func (a *Authority) use(roots []root, now time.Time) error {
	signing, live := a.choose(roots, now)
	if signing.key == nil {
		return errors.New("use certificate authority: the keys of all its roots are elsewhere")
	}
	s, err := newState(signing.pair, signing.chain, bundle(live), a.opt)
	if err != nil {
		return err
	}
	a.state.Store(s)
	return nil
}

// choose says which of the roots, the oldest first, signs at a time, and which count, the one that signs first. Without any key at all the
// oldest one is named.
func (a *Authority) choose(roots []root, now time.Time) (signing root, live []root) {
	at := -1
	for i, r := range roots {
		if r.key != nil && (at < 0 || now.Sub(known(roots[:i], r)) >= a.opt.MaxTTL) {
			at = i
		}
	}
	at = max(at, 0)
	signing = roots[at]
	live = []root{signing}
	for i, r := range roots {
		// A root that signs no more is trusted for as long as what it signed may live.
		if i != at && (r.begins.After(signing.begins) || now.Sub(signing.begins) < 2*a.opt.MaxTTL) {
			live = append(live, r)
		}
	}
	return signing, live
}

// known is since when a root may be known to everybody: a given authority that comes back has been before.
func known(before []root, r root) time.Time {
	for _, b := range before {
		if r.anchor != nil && slices.ContainsFunc(b.given, r.anchor.Equal) {
			return b.begins
		}
	}
	return r.begins
}

// bundle is what is trusted of roots, each certificate once.
func bundle(roots []root) (out []*x509.Certificate) {
	for _, r := range roots {
		for _, c := range r.trusted() {
			if !slices.ContainsFunc(out, c.Equal) {
				out = append(out, c)
			}
		}
	}
	return out
}

// readRoots reads a directory's roots, the oldest first.
func readRoots(dir string) ([]root, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	var out []root
	for _, e := range entries {
		begins, err := time.Parse(folderTime, e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		r := root{begins: begins, folder: filepath.Join(dir, e.Name())}
		m := Material{}
		for _, name := range []string{CertFile, KeyFile} {
			if m[name], err = os.ReadFile(filepath.Join(r.folder, name)); err != nil {
				break
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // a process that ended while it made it
		}
		if err != nil {
			return nil, fmt.Errorf("read root: %w", err)
		}
		if r.pair, err = m.pair(CertFile, KeyFile); err != nil {
			return nil, fmt.Errorf("in %s: %w", r.folder, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// makeRoot makes and keeps a root that begins at now.
func (a *Authority) makeRoot(dir string, now time.Time) (root, error) {
	r, err := a.newRoot(now)
	if err != nil {
		return r, err
	}
	key, err := keyPEM(r)
	if err != nil {
		return r, err
	}
	r.folder = filepath.Join(dir, r.begins.Format(folderTime))
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return r, fmt.Errorf("keep root: %w", err)
	}
	if err := writeFile(r.folder, KeyFile, key); err != nil {
		return r, err
	}
	return r, writeFile(r.folder, CertFile, []byte(certificatePEM(r.cert.Raw)))
}

// newRoot makes a root that begins at now.
func (a *Authority) newRoot(now time.Time) (root, error) {
	r := root{begins: now.UTC()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return r, fmt.Errorf("make root: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return r, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{a.opt.TrustDomain}, CommonName: "Root CA of " + r.begins.Format(time.RFC3339)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(a.opt.RootTTL),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return r, fmt.Errorf("make root: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return r, fmt.Errorf("make root: %w", err)
	}
	r.pair = pair{cert, key}
	return r, nil
}
