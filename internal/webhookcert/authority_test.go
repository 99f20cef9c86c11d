package webhookcert

import (
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

func pool(bundle []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(bundle)
	return p
}

func trusted(leaf *x509.Certificate, bundle []byte, now time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: "a.b.svc", Roots: pool(bundle), CurrentTime: now})
	return err
}

// TestNoGap: whenever replicas wake up, the caBundle in force trusts what each of them serves, over years of rotations.
func TestNoGap(t *testing.T) {
	l := Lifetimes{CA: 100 * time.Hour, Leaf: 10 * time.Hour, Overlap: time.Hour}
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
		var kept map[string][]byte // the Secret
		var bundle []byte          // in force
		leaves := make([]*pair, 3)
		woken := make([]time.Time, len(leaves))
		signers := map[string]bool{}
		for range 4000 {
			now = now.Add(time.Duration(r.Int64N(int64(l.Overlap / 4))))
			i := r.IntN(len(leaves))
			for j, last := range woken {
				if now.Sub(last) > l.Overlap/2 { // Run sleeps no longer than Overlap
					i = j
				}
			}
			woken[i] = now
			a, err := decode(kept)
			if err != nil {
				t.Fatal(err)
			}
			if a.signer != nil {
				bundle = a.bundle()
			}
			next, changed, err := a.step(now, l, a.signer != nil)
			if err != nil {
				t.Fatal(err)
			}
			if changed {
				if kept, err = next.encode(); err != nil {
					t.Fatal(err)
				}
				bundle = next.bundle()
			}
			if leaf := leaves[i]; leaf == nil || now.After(renewal(leaf.cert)) || !issued(leaf.cert, next.trusted()) {
				if leaves[i], err = next.leaf([]string{"a.b.svc"}, now, l.Leaf); err != nil {
					t.Fatal(err)
				}
			}
			signers[string(next.signer.cert.Raw)] = true
			for j, leaf := range leaves {
				if leaf == nil {
					continue
				}
				var err error
				if changed || j == i { // else nothing is new but the time
					err = trusted(leaf.cert, bundle, now)
				} else if now.After(leaf.cert.NotAfter) {
					err = errors.New("expired")
				}
				if err != nil {
					t.Fatalf("seed %d, %v: replica %d is not trusted: %v", seed, now, j, err)
				}
			}
		}
		if len(signers) < 5 {
			t.Errorf("seed %d: %d CAs in %v", seed, len(signers), now)
		}
	}
}

// TestStep: what becomes due, in its order.
func TestStep(t *testing.T) {
	l := Lifetimes{CA: 100 * time.Hour, Leaf: 10 * time.Hour, Overlap: time.Hour}
	begin := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var a authority
	step := func(after time.Duration, announced, want bool) {
		t.Helper()
		next, changed, err := a.step(begin.Add(after), l, announced)
		if err != nil || changed != want {
			t.Fatalf("after %v: changed %v, %v", after, changed, err)
		}
		a = next
	}
	step(0, false, true)
	first := a.signer
	step(69*time.Hour, true, false)
	step(71*time.Hour, true, true)
	if a.signer != first || a.next == nil {
		t.Fatal("the next CA signs at once")
	}
	next := a.next
	step(71*time.Hour+50*time.Minute, true, false)
	step(73*time.Hour, false, false) // not in force
	step(73*time.Hour, true, true)
	if a.signer != next || a.next != nil || a.retired != first.cert {
		t.Fatal("the next CA does not follow the first")
	}
	step(83*time.Hour, true, false)
	step(84*time.Hour, true, true)
	if a.retired != nil {
		t.Fatal("the first CA is trusted for ever")
	}
	step(400*time.Hour, true, true) // nobody was there for long
	if a.signer == next || a.retired != nil {
		t.Fatal("a CA that is good no more signs")
	}
}

// TestBroken: what is no CA is told, and a Secret without data is a new one.
func TestBroken(t *testing.T) {
	var a authority
	a, _, err := a.step(time.Now(), Lifetimes{}.withDefaults(), false)
	if err != nil {
		t.Fatal(err)
	}
	data, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := decode(data); err != nil || !back.signer.cert.Equal(a.signer.cert) {
		t.Errorf("read back: %v", err)
	}
	for name, breakIt := range map[string]func(map[string][]byte){
		"no certificate":    func(d map[string][]byte) { delete(d, keySignerCert) },
		"no key":            func(d map[string][]byte) { delete(d, keySignerKey) },
		"next without when": func(d map[string][]byte) { d[keyNextCert], d[keyNextKey] = d[keySignerCert], d[keySignerKey] },
		"retired for ever":  func(d map[string][]byte) { d[keyRetiredCert] = d[keySignerCert] },
	} {
		d := map[string][]byte{}
		for k, v := range data {
			d[k] = v
		}
		breakIt(d)
		if _, err := decode(d); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if a, err := decode(nil); err != nil || a.signer != nil {
		t.Errorf("empty: %v", err)
	}
}
